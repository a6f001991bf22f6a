"""Look at this PC for an engine: facts collected, then judged."""

import asyncio
from typing import Final

from garage_ai.node.errors import NotEnrolled
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.preflight.checks import examine
from garage_ai.node.preflight.models import CARD, FIRST, NEEDS, EngineKind, Report
from garage_ai.node.preflight.reach import look
from garage_ai.node.preflight.reader import collect

_KINDS: Final[dict[str, EngineKind]] = {kind: kind for kind in NEEDS}


async def inspect_all(folder: NodeFolder, engine: EngineKind | None) -> Report:
    """Go through the whole checklist; without an engine, for the one chosen last."""
    record = await asyncio.to_thread(_known, folder)
    reach = await look(record) if record is not None else None
    facts = await asyncio.to_thread(collect, folder, reach)
    chosen = _KINDS.get(record.choice.engine, "llamacpp") if record else "llamacpp"
    choice = record.choice if record is not None else Choice()
    kind = engine or chosen
    return examine(facts, kind, bare=choice.sandbox == "none", card=_wants_card(kind, choice.gpus))


async def inspect_needs(folder: NodeFolder, choice: Choice) -> Report:
    """Check what no engine of this kind does without, before there is a node: quick."""
    kind = _KINDS.get(choice.engine, "llamacpp")
    card = _wants_card(kind, choice.gpus)
    wanted = NEEDS[kind] & FIRST | (CARD if card else frozenset())
    facts = await asyncio.to_thread(collect, folder, None, wanted)
    return examine(facts, kind, wanted, card=card)


def _wants_card(kind: EngineKind, gpus: tuple[str, ...]) -> bool:
    """Tell whether it is to compute on a card where there is one; vLLM asks for one anyway."""
    return kind == "llamacpp" and "none" not in gpus


def _known(folder: NodeFolder) -> Record | None:
    try:
        return folder.load()
    except NotEnrolled:
        return None


__all__ = ["inspect_all", "inspect_needs"]
