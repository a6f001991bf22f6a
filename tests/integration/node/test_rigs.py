"""Rigs on one machine's loopback that find each other by their addresses."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress

import pytest
from tests.parts.job_caller import until
from tests.parts.parties import free_places

from garage_ai.node.group import link as link_module
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.handshake import Handshake, hello
from garage_ai.node.group.link import BULK_BYTES, read_frame
from garage_ai.node.group.messages import Epoch, Message, Reserved
from garage_ai.node.group.rigs import Rigs
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
A, B = NodeId("a"), NodeId("b")


class Ear:
    """Hears what there is to hear of other rigs."""

    def __init__(self) -> None:
        self.there: list[NodeId] = []
        self.story: list[str] = []
        self.said: list[Message] = []
        self.width: list[NodeId] = []
        self.breaks = False

    def came(self, node: NodeId) -> None:
        self.there.append(node)
        self.story.append(f"+{node}")

    def measured(self, node: NodeId) -> None:
        self.width.append(node)

    def went(self, node: NodeId) -> None:
        self.there.remove(node)
        self.story.append(f"-{node}")

    def heard(self, node: NodeId, message: Message) -> None:
        self.said.append(message)
        if self.breaks:
            raise ZeroDivisionError


class Party:
    """One rig, running."""

    def __init__(self, me: NodeId, choice: GroupChoice, secret: bytes = SECRET) -> None:
        self.ear = Ear()
        self.rigs = Rigs(me, choice, secret, self.ear)
        self._task = asyncio.create_task(self.rigs.run())

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
def places() -> tuple[HostPort, HostPort]:
    """Two free addresses."""
    return free_places()


def listens(place: HostPort) -> bool:
    """Tell whether somebody is there."""
    with socket.socket() as one:
        return one.connect_ex(place) == 0


Begin = Callable[..., Party]


@pytest.fixture
async def begin(places: tuple[HostPort, HostPort]) -> AsyncIterator[Begin]:
    """Starts rigs, each of which knows both addresses; ends them."""
    async with AsyncExitStack() as stack:

        def start(me: NodeId, secret: bytes = SECRET, *, dials: bool = True) -> Party:
            place = places[0] if me == A else places[1]
            choice = GroupChoice("garage", place, places if dials else ())
            party = Party(me, choice, secret)
            stack.push_async_callback(party.end)
            return party

        yield start


async def test_two_rigs_meet_once(begin: Begin) -> None:
    """Although each dials the other, and measure what is between them."""
    one, other = begin(A), begin(B)
    await until(lambda: one.ear.width == [B] and other.ear.width == [A])
    assert (one.ear.there, other.ear.there) == ([B], [A])
    (measured,) = one.rigs.links
    assert measured.node == B
    # On one machine: less than a second, and more than 10 Mbit/s.
    assert 0 < measured.rtt_ms < 1000
    assert measured.gbit > 0.01
    assert BULK_BYTES <= 64 * 1024 * 1024
    message = Reserved(Epoch(1, A))
    one.rigs.send(B, message)
    one.rigs.tell_all(message)
    await until(lambda: other.ear.said == [message, message])


async def test_one_that_ends_is_lost_and_found_again(begin: Begin) -> None:
    """At once, and with the same id."""
    one, other = begin(A), begin(B)
    await until(lambda: one.ear.there == [B])
    await other.end()
    await until(lambda: one.ear.there == [])
    begin(B)
    await until(lambda: one.ear.there == [B])


async def test_an_address_that_cannot_be_had_yet(
    begin: Begin, places: tuple[HostPort, HostPort]
) -> None:
    """The owner is told, and it is tried again until the rig is heard."""
    with socket.create_server(places[0]):
        one = begin(A)
        await until(lambda: "cannot be heard on 127.0.0.1" in one.rigs.trouble)
    other = begin(B, dials=False)
    await until(lambda: one.ear.there == [B] and other.ear.there == [A])
    assert one.rigs.trouble == ""


async def test_a_failure_of_our_own_ends_one_link_only(begin: Begin) -> None:
    """And that one is made again."""
    one, other = begin(A), begin(B, dials=False)
    await until(lambda: one.ear.there == [B] and other.ear.there == [A])
    one.ear.breaks = True
    other.rigs.send(A, Reserved(Epoch(1, A)))
    await until(lambda: one.ear.story == ["+b", "-b", "+b"])


async def test_without_the_secret_nobody_comes_in(begin: Begin) -> None:
    """And the owner is told why."""
    one, stranger = begin(A), begin(B, b"t" * 32)
    await until(lambda: "secret" in one.rigs.refused + stranger.rigs.refused)
    assert one.ear.story == stranger.ear.story == []


async def test_who_comes_in_while_a_rig_goes_is_not_kept(
    begin: Begin, places: tuple[HostPort, HostPort]
) -> None:
    """The last word of its handshake finds nobody to be a rig to."""
    one = begin(A)
    await until(lambda: listens(places[0]))
    reader, writer = await asyncio.open_connection(*places[0])
    own = hello(B, "run")
    writer.write(len(own).to_bytes(4, "big") + own)
    shaken = Handshake(SECRET, "dialer", own, await read_frame(reader))
    shaken.check(await read_frame(reader))
    await one.end()
    writer.write(len(shaken.proof).to_bytes(4, "big") + shaken.proof)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
    assert one.ear.story == []


async def test_a_talker_without_manners_is_hung_up_on(
    begin: Begin, places: tuple[HostPort, HostPort]
) -> None:
    """Nothing that it sends does harm."""
    one = begin(A)
    await until(lambda: listens(places[0]))
    reader, writer = await asyncio.open_connection(*places[0])
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
    async with asyncio.timeout(20):
        # A reset is an end, too.
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    assert one.ear.story == []


async def test_strangers_keep_no_rig_out(
    begin: Begin, places: tuple[HostPort, HostPort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many connections say nothing from however many addresses: two from each are heard
    out, and a rig that is listed is not counted with them."""
    monkeypatch.setattr(link_module, "HANDSHAKE_SECONDS", 60.0)
    one = begin(A)
    await until(lambda: listens(places[0]))
    writers = []
    for number in range(2, 12):
        for _ in range(3):
            here = (f"127.0.0.{number}", 0)
            _, writer = await asyncio.open_connection(*places[0], local_addr=here)
            writers.append(writer)
    strangers = one.rigs._strangers
    await until(lambda: strangers.total() == 16)
    assert max(strangers.values()) == 2
    # One that is called by nobody: it has to be let in.
    other = Party(B, GroupChoice("garage", HostPort("127.0.0.1", 0), (places[0],)))
    try:
        await until(lambda: one.ear.there == [B])
        assert strangers.total() == 16
    finally:
        await other.end()
        for writer in writers:
            writer.close()
