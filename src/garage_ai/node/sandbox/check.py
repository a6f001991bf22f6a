"""Let a probe try to get out of the very sandbox the engine runs in."""

from importlib import resources
from typing import Final

import msgspec

from garage_ai.node.errors import RuntimeBroken
from garage_ai.node.sandbox.command import ask
from garage_ai.node.sandbox.launcher import RUN, ContainerLauncher

SECONDS: Final = 120
"""The probe's own limit: it waits two seconds for each of a few addresses."""

_PROBE: Final = "probe.py"


class Finding(msgspec.Struct, frozen=True):
    """One attempt: whether the sandbox held, and what happened."""

    name: str
    held: bool
    words: str


_findings: Final = msgspec.json.Decoder(Finding)


async def probe(launcher: ContainerLauncher, *unreachable: str) -> list[Finding]:
    """Run the probe in the engine's place and give what it found.

    `unreachable` are paths and addresses (HOST:PORT) of this PC that it must not get at, besides
    those it knows of itself. Raises: RuntimeBroken when it does not get to its end.
    """
    script = (resources.files(__package__) / _PROBE).read_bytes()
    command = ("/usr/bin/python3", "-", RUN, *unreachable)
    argv = launcher.argv_of(command, seconds=SECONDS)
    said = await ask(argv, seconds=SECONDS + 30.0, stdin=script)
    lines = said.out.splitlines()
    if not said.well or not lines:
        raise RuntimeBroken(f"The probe did not get to its end: {said.words}")
    try:
        return [_findings.decode(line) for line in lines]
    except msgspec.MsgspecError as error:
        raise RuntimeBroken(f"The probe said what no probe says: {error}") from error


__all__ = ["Finding", "probe"]
