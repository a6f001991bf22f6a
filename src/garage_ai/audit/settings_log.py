"""Tells in the log with which settings a gateway started, where they changed since the last one."""

from collections.abc import Mapping

import msgspec

from garage_ai.audit.models import GATEWAY, Action, Detail, Entry, Recorded
from garage_ai.audit.service import AuditLog, Wanted

_details = msgspec.json.Decoder(dict[str, Detail])


async def note_settings(
    log: AuditLog, now: Mapping[str, Detail], defaults: Mapping[str, Detail]
) -> Recorded | None:
    """Record the settings that are not as they were; None when all are.

    Before the first entry they were the defaults. Raises: StorageError.
    """
    before = dict(defaults) | await _recorded(log)
    changed = {name: value for name, value in now.items() if before.get(name) != value}
    if not changed:
        return None
    return await log.append(Entry(Action.SETTINGS_CHANGED, GATEWAY, "settings", details=changed))


async def _recorded(log: AuditLog) -> dict[str, Detail]:
    found: dict[str, Detail] = {}
    wanted, after = Wanted(action=Action.SETTINGS_CHANGED), 0
    while page := await log.following(after, wanted=wanted):
        for entry in page:
            found |= _details.decode(entry.details)
        after = page[-1].seq
    return found


__all__ = ["note_settings"]
