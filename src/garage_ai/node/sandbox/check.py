"""Let a probe try to get out of the very sandbox the engine runs in."""

from importlib import resources
from typing import Final

import msgspec

from garage_ai.node.engines.launch import Startable
from garage_ai.node.errors import RuntimeBroken
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.order import RUN

SECONDS: Final = 120
"""The probe's own limit: it waits two seconds for each of a few addresses."""

_PROBE: Final = "probe.py"


class Finding(msgspec.Struct, frozen=True):
    """One attempt: whether the sandbox held, and what happened."""

    name: str
    held: bool
    words: str


_findings: Final = msgspec.json.Decoder(Finding)


async def probe(launcher: ContainerLauncher, engine: Startable, *unreachable: str) -> list[Finding]:
    """Run the probe in the engine's place and give what it found.

    `unreachable` are paths, addresses (HOST:PORT) and abstract sockets (@NAME) of this PC that it
    must not get at, besides those it knows of itself.

    Raises: RuntimeBroken when it does not get to its end, NotPossible.
    """
    script = (resources.files(__package__) / _PROBE).read_bytes()
    command = ("/usr/bin/python3", "-", RUN, *unreachable)
    said = await launcher.ask(command, seconds=SECONDS, stdin=script, what=engine)
    lines = said.out.splitlines()
    if not said.well or not lines:
        raise RuntimeBroken(
            "The probe did not get to its end: {words}",
            words=said.words,
        )
    try:
        return [_findings.decode(line) for line in lines]
    except msgspec.MsgspecError as error:
        raise RuntimeBroken(
            "The probe said what no probe says: {error}",
            error=error,
        ) from error


__all__ = ["Finding", "probe"]
