"""How much of their files items hold in memory while they run."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import msgspec
import pytest

from garage_ai.accounts import Key
from garage_ai.batch import BatchId, FileStore, Reading
from garage_ai.batch.worker import asking as asking_module
from garage_ai.batch.worker.asking import SHORT_LINE, Asking, Job
from garage_ai.batch.worker.items import Item, Queue
from garage_ai.batch.worker.memory import Memory
from garage_ai.gateway.request import read_request
from garage_ai.ledger import NanoGai
from garage_ai.network.errors import NoNode
from garage_ai.serving import Call, Reply
from garage_ai.storage import KeyId, MemberId
from garage_ai.wire.frames import Route

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
KEY = Key(KeyId("key_1"), MemberId("mbr_1"), "k", frozenset({"inference"}), None, NOW)


def line_of(length: int) -> bytes:
    """Write a line of so many bytes."""
    said = {"model": "small", "messages": [{"role": "user", "content": ""}]}
    told = {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": said}
    said["messages"] = [
        {"role": "user", "content": "x" * (length - len(msgspec.json.encode(told)))}
    ]
    return msgspec.json.encode(told)


class Store:
    """A file of which each part is a line."""

    async def read(self, place: str, offset: int, length: int) -> bytes:
        del place, offset
        return line_of(length)


class Desk:
    """One key."""

    def key(self, key: KeyId) -> Key:
        return KEY

    def check_model(self, key: Key, model: str) -> None:
        """Let every model in."""


@dataclass
class World:
    """A network that has no node, once it may say so."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    async def open(self, call: Call) -> Reply:
        self.asked.append(len(call.body))
        await self.go_on.wait()
        raise NoNode("none")

    def read(self, route: Route, body: bytes) -> Reading:
        self.threads.append(threading.get_ident())
        return read_request(route, body)

    def asking(self) -> Asking:
        return Asking(self, store=cast("FileStore", Store()), read=self.read, desk=Desk())


def job(length: int) -> Job:
    """Make an item of a line of so many bytes."""
    batch, member = BatchId("batch_1"), MemberId("mbr_1")
    queue = Queue(batch, member, KEY.id, "small", "/v1/chat/completions", NOW, NOW, "file", 1)
    return Job(Item(batch, 1, "c", 0, length, NanoGai(0), 0, 1), queue)


async def test_what_runs_holds_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait until there is room, and all have their turn."""
    monkeypatch.setattr(asking_module, "MOST_BYTES", 2500)
    world = World()
    asking = world.asking()

    async def ask() -> bytes:
        with ExitStack() as kept:
            return await asking.ask(job(1000), kept)

    tasks = [asyncio.create_task(ask()) for _ in range(5)]
    await settle()
    assert len(world.asked) == 2
    world.go_on.set()
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in failures] == [NoNode] * 5
    assert len(world.asked) == 5


async def test_long_lines_are_read_beside_the_loop() -> None:
    """Chats go on meanwhile; a short one is not worth a thread."""
    world = World()
    world.go_on.set()
    for length in (SHORT_LINE, SHORT_LINE + 1):
        with pytest.raises(NoNode):
            await world.asking().ask(job(length), ExitStack())
    here = threading.get_ident()
    assert [thread == here for thread in world.threads] == [True, False]


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    """Room for ten bytes, all of which is free in the end."""
    made = Memory(10)
    yield made
    with await made.hold(10):
        assert made.held == 10
    assert made.held == 0


@dataclass
class Holder:
    """Somebody who holds room until told."""

    task: asyncio.Task[None]
    has: asyncio.Event
    done: asyncio.Event


def holder(memory: Memory, size: int) -> Holder:
    has, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        with await memory.hold(size):
            has.set()
            await done.wait()

    return Holder(asyncio.create_task(hold()), has, done)


async def test_room_is_given_in_turn(memory: Memory) -> None:
    """A short one does not overtake a long one, which would never have its turn."""
    first, long, short = [holder(memory, size) for size in (6, 8, 1)]
    await settle()
    assert [each.has.is_set() for each in (first, long, short)] == [True, False, False]
    first.done.set()
    await settle()
    assert [each.has.is_set() for each in (long, short)] == [True, True]
    for each in (long, short):
        each.done.set()
    await asyncio.gather(first.task, long.task, short.task)


async def test_what_is_too_long_runs_alone(memory: Memory) -> None:
    """It waits until there is nothing else."""
    first, huge = holder(memory, 1), holder(memory, 1000)
    await settle()
    assert not huge.has.is_set()
    first.done.set()
    huge.done.set()
    await asyncio.gather(first.task, huge.task)


@pytest.mark.parametrize("had_its_turn", [False, True])
async def test_who_is_cancelled_leaves_its_room(memory: Memory, had_its_turn: bool) -> None:
    """Also in the moment in which it would have gone on."""
    first, second, third = [holder(memory, size) for size in (6, 8, 8)]
    await settle()
    if had_its_turn:
        first.done.set()
        await asyncio.sleep(0)
    second.task.cancel()
    first.done.set()
    third.done.set()
    await asyncio.wait([first.task, second.task, third.task])
    assert second.task.cancelled()
    assert third.has.is_set()


async def test_only_the_eldest_goes_on_where_answers_have_filled_it(memory: Memory) -> None:
    """Those behind it wait with what they have, and nothing begins; each has its turn."""
    first, second = await memory.hold(2), await memory.hold(2)
    await second.grow(4)
    await first.grow(10)
    assert memory.held == 18
    grown = asyncio.create_task(second.grow(1))
    begun = holder(memory, 1)
    await settle()
    assert not grown.done()
    await first.grow(1)
    first.release()
    await settle()
    assert grown.done()
    assert begun.has.is_set()
    second.release()
    begun.done.set()
    await begun.task


async def test_who_has_no_answer_yet_keeps_nobody_from_reading_on(memory: Memory) -> None:
    """It may wait for the very slot that the others hold, who would wait for it in turn."""
    first, second, third = [await memory.hold(2) for _ in range(3)]
    others = [asyncio.create_task(each.grow(10)) for each in (second, third)]
    await settle()
    assert [each.done() for each in others] == [True, False]
    await first.grow(1)
    more = asyncio.create_task(second.grow(1))
    await settle()
    assert not more.done()
    first.release()
    await settle()
    assert [more.done(), others[1].done()] == [True, False]
    second.release()
    await others[1]
    third.release()
    assert memory.held == 0
