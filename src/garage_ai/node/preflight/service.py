"""Look at this PC for an engine: facts collected, then judged."""

import asyncio
from typing import Final

from garage_ai.node.errors import NotEnrolled
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.preflight.checks import examine
from garage_ai.node.preflight.models import FIRST, NEEDS, EngineKind, Report
from garage_ai.node.preflight.reach import look
from garage_ai.node.preflight.reader import collect

_KINDS: Final[dict[str, EngineKind]] = {kind: kind for kind in NEEDS}


async def inspect_all(folder: NodeFolder, engine: EngineKind | None) -> Report:
    """Go through the whole checklist; without an engine, for the one chosen last."""
    record = await asyncio.to_thread(_known, folder)
    reach = await look(record) if record is not None else None
    facts = await asyncio.to_thread(collect, folder, reach)
    chosen = _KINDS.get(record.choice.engine, "llamacpp") if record else "llamacpp"
    bare = record is not None and record.choice.sandbox == "none"
    return examine(facts, engine or chosen, bare=bare)


async def inspect_needs(folder: NodeFolder, engine: str) -> Report:
    """Check what no engine of this kind does without, before there is a node: quick."""
    kind = _KINDS.get(engine, "llamacpp")
    wanted = NEEDS[kind] & FIRST
    facts = await asyncio.to_thread(collect, folder, None, wanted)
    return examine(facts, kind, wanted)


def _known(folder: NodeFolder) -> Record | None:
    try:
        return folder.load()
    except NotEnrolled:
        return None


__all__ = ["inspect_all", "inspect_needs"]
