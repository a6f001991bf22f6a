"""Look at this PC for an engine: facts collected, then judged."""

import asyncio
from typing import Final

import msgspec

from garage_ai.node.errors import NotEnrolled, NoUserIds, SandboxError
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.preflight.checks import examine, has_card
from garage_ai.node.preflight.container_checks import program_of
from garage_ai.node.preflight.models import (
    CARD,
    FIRST,
    NEEDS,
    SANDBOX,
    CheckId,
    EngineKind,
    Facts,
    Report,
    Tool,
)
from garage_ai.node.preflight.reach import look
from garage_ai.node.preflight.reader import collect
from garage_ai.node.sandbox.detect import look_at
from garage_ai.node.sandbox.images import ImageBook
from garage_ai.node.sandbox.spec import Program

_KINDS: Final[dict[str, EngineKind]] = {kind: kind for kind in NEEDS}


async def inspect_all(folder: NodeFolder, engine: EngineKind | None) -> Report:
    """Go through the whole checklist; without an engine, for the one chosen last.

    Raises: NoImage for a list of images that is broken.
    """
    record = await asyncio.to_thread(_known, folder)
    reach = await look(record) if record is not None else None
    facts = await asyncio.to_thread(collect, folder, reach)
    choice = record.choice if record is not None else Choice()
    return await _examine(folder, facts, engine or _kind(choice), choice)


async def inspect_needs(folder: NodeFolder, choice: Choice) -> Report:
    """Check what no engine of this kind does without, before there is a node: quick.

    Where there is no card, vLLM may have been built for the processor: its set-up finds that out.
    Raises: NoImage for a list of images that is broken.
    """
    kind = _kind(choice)
    card = _wants_card(kind, choice.gpus)
    wanted = NEEDS[kind] & FIRST | (CARD if card else frozenset())
    facts = await asyncio.to_thread(collect, folder, None, wanted)
    if not has_card(facts):
        wanted -= CARD
    return await _examine(folder, facts, kind, choice, wanted)


async def _examine(
    folder: NodeFolder,
    facts: Facts,
    kind: EngineKind,
    choice: Choice,
    wanted: frozenset[CheckId] = frozenset(),
) -> Report:
    images = await asyncio.to_thread(ImageBook(folder.path).read)
    facts = msgspec.structs.replace(facts, sandbox=choice.sandbox)
    asks = choice.sandbox != "none" and (not wanted or wanted & SANDBOX)
    if asks and program_of(facts) == "podman":
        facts = msgspec.structs.replace(facts, podman=await _asked("podman", facts.podman))
    # A daemon that nobody uses is not even woken by a question.
    if asks and program_of(facts) == "docker":
        facts = msgspec.structs.replace(facts, docker=await _asked("docker", facts.docker))
    return examine(
        facts,
        kind,
        wanted,
        sandbox=choice.sandbox,
        card=_wants_card(kind, choice.gpus),
        own=kind == "vllm" and bool(images.own),
    )


async def _asked(name: Program, tool: Tool | None) -> Tool | None:
    """Ask what would run the containers the question that the sandbox asks: whether it can."""
    if tool is None:
        return None
    try:
        found = await look_at(name)
    except NoUserIds:
        return msgspec.structs.replace(tool, unmapped=True)
    except SandboxError as error:
        said = str(error.values.get("words", error))
        return msgspec.structs.replace(tool, trouble=said)
    return msgspec.structs.replace(tool, rootless=found.rootless)


def _kind(choice: Choice) -> EngineKind:
    return _KINDS.get(choice.engine, "llamacpp")


def _wants_card(kind: EngineKind, gpus: tuple[str, ...]) -> bool:
    """Tell whether it is to compute on a card where there is one."""
    return kind != "external" and "none" not in gpus


def _known(folder: NodeFolder) -> Record | None:
    try:
        return folder.load()
    except NotEnrolled:
        return None


__all__ = ["inspect_all", "inspect_needs"]
