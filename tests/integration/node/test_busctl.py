"""busctl as a program: there, away, slow."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers import bus
from garage_ai.node.guard.readers.bus import GAMEMODE, GameMode, Said, ask_bus
from garage_ai.node.guard.words import sentence

pytestmark = pytest.mark.anyio

Program = Callable[[str], None]


@pytest.fixture
def busctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Put a program of that name first on the path; none until one is made."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(script: str) -> None:
        path = tmp_path / "busctl"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


async def test_a_game_is_seen_through_it(busctl: Program) -> None:
    """Its answer is read, and the words it was asked with are those that start nobody."""
    busctl('[ "$2" = --auto-start=no ] && [ "${11}" = ClientCount ] && echo "v i 1"')
    assert (await GameMode().read(Limits())).verdict == "busy"


async def test_nobody_on_the_bus_is_no_game(busctl: Program) -> None:
    """What busctl says of a name that nobody has."""
    busctl("""echo 'Call failed: Name "x" does not exist' >&2; exit 1""")
    assert await ask_bus(GAMEMODE) == Said(nobody=True)


@pytest.mark.usefixtures("busctl")
async def test_a_pc_without_it_is_told_so() -> None:
    """It comes with systemd; some PCs have none."""
    assert await ask_bus(GAMEMODE) == Said(trouble=sentence("no_busctl"))


async def test_one_that_hangs_is_ended(
    busctl: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while there is no answer, and no process is left."""
    monkeypatch.setattr(bus, "ASK_SECONDS", 2.0)
    busctl(f"echo $$ > {tmp_path}/pid; exec /bin/sleep 60")
    said = await ask_bus(GAMEMODE)
    assert said == Said(trouble=sentence("no_answer", name=GAMEMODE.name))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
