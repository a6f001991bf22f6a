"""A look at all of a network's database, the log of who did what among it."""

import asyncio
from dataclasses import replace
from typing import Final

from garage_ai.audit.errors import LogBroken
from garage_ai.audit.remembered import HEAD_FILE, RememberedHead
from garage_ai.audit.service import AuditLog
from garage_ai.local.backup import Home
from garage_ai.network.authority import audit_public_key
from garage_ai.network.authority_errors import AuthorityDamaged
from garage_ai.storage import Storage, StorageError
from garage_ai.storage.dialect import dialect_for
from garage_ai.storage.upkeep import Examination, examine

_KEYS_DAMAGED: Final = "the log was not compared with its signatures: "


async def examine_network(home: Home) -> Examination:
    """Read all of the database, and check the log against the network's own key.

    Raises: StorageError where the database cannot be opened at all.
    """
    found = await examine(home.database_url)
    if found.revision != found.newest:
        return found
    storage = Storage(dialect_for(home.database_url))
    try:
        return replace(found, problems=(*found.problems, *await _of_log(AuditLog(storage), home)))
    finally:
        await storage.close()


async def _of_log(log: AuditLog, home: Home) -> list[str]:
    try:
        key: str | None = await asyncio.to_thread(audit_public_key, home.nats)
        remembered = await asyncio.to_thread(RememberedHead(home.data / HEAD_FILE).read, key)
        if key is None:  # kept with the gateway, on another machine
            named = remembered or await log.head()
            key = named.public_key if named is not None else ""
        verdict = await log.verify(key, remembered=remembered)
    except AuthorityDamaged as error:
        return [f"{_KEYS_DAMAGED}{error}"]
    except LogBroken as error:
        return [str(error)]
    except (StorageError, TypeError, ValueError) as error:
        return [f"the log cannot be read: {error}"]
    return [f"log entry {each.seq}: {each.what}" for each in verdict.findings]


__all__ = ["examine_network"]
