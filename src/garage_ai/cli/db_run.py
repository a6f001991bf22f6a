"""The body of `gai db`: which network is meant, and errors in the operator's words."""

import asyncio
import errno
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from garage_ai.cli.db_words import say
from garage_ai.cli.errors import CliError, Failed, Misused
from garage_ai.local.backup import Home
from garage_ai.local.backup_errors import BackupError
from garage_ai.settings import GatewaySettings
from garage_ai.storage import DiskFull, InvalidDatabaseUrl, StorageError, sqlite_url

T = TypeVar("T")


def home_of(data_dir: Path | None) -> Home:
    """Tell where the network is that GAI_* and the option mean. Raises: Misused."""
    try:
        given = GatewaySettings() if data_dir is None else GatewaySettings(data_dir=data_dir)
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise Misused(say("error.setting", name=name, message=first["msg"])) from None
    data = given.data_dir.absolute()
    return Home(
        data=data,
        nats=(given.authority_dir or data / "nats").absolute(),
        database_url=given.database_url or sqlite_url(data / "garage.db"),
    )


def new_name() -> Path:
    """Give a backup a name of its moment."""
    return Path(f"garage-ai-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do something to its end. Raises: CliError."""
    try:
        return asyncio.run(work)
    except (BackupError, StorageError, OSError) as error:
        raise in_words(error) from error


def in_words(error: BackupError | StorageError | OSError) -> CliError:
    """Put an error into the operator's words."""
    if isinstance(error, OSError):
        reason = error.strerror or error
        # What is written to an open file fails without a name.
        named = say("error.file", file=error.filename, reason=reason) if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Failed(named or f"{reason}.", say("error.full.next") if full else "")
    if isinstance(error, StorageError):
        kind = Misused if isinstance(error, InvalidDatabaseUrl) else Failed
        told = say("error.storage", code=error.code, message=error)
        full = isinstance(error, DiskFull)
        return kind(told, say("error.full.next" if full else "error.storage.next"))
    values = {"message": error, **vars(error)}
    key = f"error.{error.code}"
    return Failed(say(key, **values), say(f"{key}.next", **values))


__all__ = ["home_of", "in_words", "new_name", "run"]
