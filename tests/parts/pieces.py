"""Send something in pieces to a reader in the same loop."""

import asyncio

_TURNS = 50


async def its_reader_has_it() -> None:
    """Let the loop turn until what was written lies with whoever reads it."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


__all__ = ["its_reader_has_it"]
