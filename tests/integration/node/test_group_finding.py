"""Rigs that find each other by multicast, on a LAN of three PCs and a switch."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.parts.hosts import Host, lan
from tests.parts.program import Program
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

# A rig that knows no address but its own, and says whom it meets.
RIG = """
import asyncio, sys
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.rigs import Rigs
me, host, port, secret = sys.argv[1:]
class Ear:
    def came(self, node): print("came", node, flush=True)
    def went(self, node): print("went", node, flush=True)
    def measured(self, node): print("measured", node, flush=True)
    def heard(self, node, message): pass
choice = GroupChoice("garage", HostPort(host, int(port)), find=True)
rigs = Rigs(me, choice, secret.encode() * 32, Ear())
async def show():
    task, shown = asyncio.create_task(rigs.run()), None
    while not task.done():
        if shown != (rigs.refused, rigs.blind):
            shown = (rigs.refused, rigs.blind)
            print("trouble", *map(repr, shown), flush=True)
        await asyncio.sleep(0.05)
asyncio.run(show())
"""
Begin = Callable[[str, int, str, int], Program]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a rig by its name on one of the PCs, with a secret and a port."""
    with ExitStack() as stack:
        _, hosts = stack.enter_context(lan(3))

        def start(name: str, number: int, secret: str, port: int = 4244) -> Program:
            host: Host = hosts[number]
            argv = [*host.inside, sys.executable, "-c", RIG, name, host.address, str(port), secret]
            program = Program(name, argv, tmp_path, dict(os.environ))
            stack.callback(program.end_all)
            return program

        yield start


def met(program: Program, name: str, times: int = 1) -> Callable[[], bool]:
    return lambda: program.output().count(f"measured {name}") >= times


def test_they_meet_without_a_list_and_strangers_are_not_called(begin: Begin) -> None:
    """A rig of another group in the same LAN is neither dialled nor turned away; back at another
    address, one is found again.
    """
    stranger = begin("stranger", 2, "t", 4244)
    one = begin("one", 0, "s", 4244)
    other = begin("other", 1, "s", 4244)
    eventually("one's link", met(one, "other"), 120)
    eventually("the other's link", met(other, "one"), 120)
    other.end_all()
    again = begin("other", 1, "s", 4246)
    eventually("one's second link", met(one, "other", 2), 240)
    late = begin("third", 2, "t", 4248)
    eventually("that strangers meet their own", met(late, "stranger"), 120)
    for program in (one, again, stranger, late):
        told = [line for line in program.output().splitlines() if line.startswith("trouble")]
        assert told == ["trouble '' ''"], program.output()
    assert "came one" not in stranger.output() + late.output()
