"""The guard's eyes: readers that are slow, broken or blind."""

import asyncio
from collections.abc import Callable

import pytest

from garage_ai.node.guard import watch
from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.machine import Decision
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.watch import Watch
from garage_ai.node.guard.words import SIGNALS, sentence

pytestmark = pytest.mark.anyio

GAME = Finding("busy", sentence("game", name="x"))


class Scripted:
    """A reader that does as it is told."""

    every = 0.001

    def __init__(self, signal: SignalName, find: Callable[[], Finding] = lambda: FREE) -> None:
        self.signal: SignalName = signal
        self.find = find
        self.reads = 0
        self.hangs = False
        self.wants = True

    def wanted(self, limits: Limits) -> bool:
        return self.wants

    async def read(self, limits: Limits) -> Finding:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        return self.find()


class Desk:
    """A watch and what it decided."""

    def __init__(self, *readers: Scripted) -> None:
        self.decisions: list[Decision] = []
        self.watch = Watch(
            readers,
            Limits(resume_after=0.0),
            clock=asyncio.get_running_loop().time,
            working=lambda: False,
            decided=self.decisions.append,
        )

    async def until(self, met: Callable[[], bool]) -> None:
        """Let it watch until something is so."""
        running = asyncio.create_task(self.watch.run())
        try:
            async with asyncio.timeout(20):
                while not met():
                    assert not running.done()
                    await asyncio.sleep(0.001)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_looks_around_before_anything_is_served() -> None:
    """One look is enough to know of a game."""
    desk = Desk(Scripted("game", lambda: GAME), Scripted("battery"))
    assert (await desk.watch.first()).action == "release"
    assert desk.watch.readings["battery"].verdict == "free"


async def test_a_card_in_use_at_the_first_look_keeps_the_engine_from_starting() -> None:
    """Two seconds of proof are for a node that serves; here they would cost a game its memory."""
    desk = Desk(Scripted("gpu", lambda: GAME))
    assert (await desk.watch.first()).action == "release"
    assert [each.action for each in desk.decisions] == ["release"]


async def test_does_not_wait_for_ever_for_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not answered is unknown, and fails as it always would."""
    monkeypatch.setattr(watch, "FIRST_SECONDS", 0.01)
    slow = Scripted("price")
    slow.hangs = True
    decision = await Desk(slow).watch.first()
    assert decision.reason == sentence("blind", signal=SIGNALS["price"], why=sentence("unread"))


async def test_a_reader_that_breaks_blinds_nobody_else() -> None:
    """It is unknown, and the others go on."""

    def broken() -> Finding:
        raise RuntimeError("what the reader's author did not think of")

    good = Scripted("game")
    desk = Desk(Scripted("gpu", broken), good)
    await desk.until(lambda: good.reads > 5)
    assert desk.watch.readings["gpu"].why == sentence("broken", detail="RuntimeError")
    assert desk.watch.decision.action == "serve"


async def test_a_reader_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And asked again later."""
    monkeypatch.setattr(watch, "READ_SECONDS", 0.01)
    monkeypatch.setattr(watch, "UNKNOWN_SECONDS", 0.001)
    slow = Scripted("price")
    slow.hangs = True
    desk = Desk(slow)
    await desk.until(lambda: slow.reads > 2)
    assert desk.watch.readings["price"].verdict == "unknown"
    assert desk.watch.decision.action == "release"


async def test_what_cannot_be_read_is_asked_rarely() -> None:
    """A desktop without GameMode is not asked for it all day."""
    blind, seeing = Scripted("gamemode", lambda: unknown(sentence("no_bus"))), Scripted("game")
    await Desk(blind, seeing).until(lambda: seeing.reads > 20)
    assert blind.reads == 1


async def test_what_stumbles_once_is_asked_again_at_its_own_pace() -> None:
    """A game that starts meanwhile is seen at once, and not after half a minute."""
    said = iter([FREE, unknown(sentence("no_answer", name="NVML")), GAME])
    card = Scripted("gamemode", lambda: next(said, GAME))
    desk = Desk(card)
    await desk.until(lambda: desk.watch.decision.action == "release")
    assert desk.watch.decision.signal == "gamemode"


async def test_what_was_known_long_ago_is_asked_rarely() -> None:
    """A desktop's bus that is gone with its session costs what one costs that never was."""
    now = [0.0]
    bus = Scripted("gamemode")
    bus.every = 3.0
    eyes = Watch(
        [bus], Limits(), clock=lambda: now[0], working=lambda: False, decided=lambda _: None
    )
    gone = unknown(sentence("no_bus"))
    told = [(0.0, gone, 30.0), (5.0, FREE, 3.0), (34.0, gone, 3.0), (35.0, gone, 30.0)]
    for at, finding, wait in told:
        now[0] = at
        eyes.take("gamemode", finding)
        assert eyes._wait(bus) == wait, at


async def test_limits_are_heeded_at_once() -> None:
    """A signal nobody wants any more is forgotten, without waiting for its next turn."""
    game = Scripted("game", lambda: GAME)
    game.every = 60.0
    desk = Desk(game)
    await desk.watch.first()
    game.wants = False
    desk.watch.heed(Limits())
    await desk.until(lambda: desk.watch.decision.action in ("serve", "resume"))
    assert desk.watch.readings == {}
    assert [each.action for each in desk.decisions][:2] == ["release", "resume"]
