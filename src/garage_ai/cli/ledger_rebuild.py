"""The body of `gai ledger rebuild`: it works on the database itself, not through a gateway."""

from garage_ai.audit.models import COMMAND_LINE
from garage_ai.ledger.verification import Rebuilt
from garage_ai.ledger.verification import rebuild as make_again
from garage_ai.storage import DatabaseUnreachable, Storage
from garage_ai.storage.copying import is_empty


async def rebuild(url: str) -> list[Rebuilt]:
    """Make balances again, as the log of acts then tells. Raises: StorageError."""
    if await is_empty(url):
        raise DatabaseUnreachable("there is no database")
    storage = await Storage.open(url)
    try:
        return await make_again(storage, by=COMMAND_LINE)
    finally:
        await storage.close()


def plain(wrong: Rebuilt) -> dict[str, object]:
    """Show a balance that was wrong; amounts are nGAI as text."""
    shown: dict[str, object] = {"account": wrong.account}
    for name, had in (("before", wrong.before), ("after", wrong.after)):
        shown[name] = {
            "amount": str(had.amount),
            "reserved": str(had.leased),
            "entries": had.entries,
        }
    return shown


__all__ = ["plain", "rebuild"]
