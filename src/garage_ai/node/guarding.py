"""The guard of one agent: its decisions become the agent's state and the engine's life."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from garage_ai.catalog import stored_bytes
from garage_ai.node.agent import Agent
from garage_ai.node.core import Hold
from garage_ai.node.engine_life import EngineLife
from garage_ai.node.engines.port import Engine
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard.limits import load_limits
from garage_ai.node.guard.machine import Decision
from garage_ai.node.guard.power import Power
from garage_ai.node.guard.readers.bus import GameMode, Metered, UserIdle
from garage_ai.node.guard.readers.electricity import SOURCE, Electricity, PriceBook
from garage_ai.node.guard.readers.graphics import Graphics
from garage_ai.node.guard.readers.hours import Energy, Hours, OwnersPause, Upload
from garage_ai.node.guard.readers.machine_room import Battery, Temperature
from garage_ai.node.guard.readers.nvml import Cards, NvmlCards
from garage_ai.node.guard.readers.outlook import seen_from
from garage_ai.node.guard.readers.port import Reader
from garage_ai.node.guard.readers.processor import ProcessorOfOthers
from garage_ai.node.guard.readers.programs import NamedPrograms
from garage_ai.node.guard.signals import RULES, TOLD
from garage_ai.node.guard.status import (
    CardStatus,
    DayStatus,
    GuardStatus,
    PauseStatus,
    SignalStatus,
)
from garage_ai.node.guard.tally import KEEP_SECONDS, Book
from garage_ai.node.guard.watch import Watch
from garage_ai.node.guard.words import Sentence
from garage_ai.node.hardware.pc import place
from garage_ai.wire import messages

_log = structlog.get_logger(__name__)

MAX_PAUSES: Final = 20
COUNT_SECONDS: Final = 5.0


class Guarding:
    """What stands between the owner's wishes and the agent."""

    def __init__(
        self,
        folder: NodeFolder,
        engine: Engine,
        agent: Agent,
        *,
        on_change: Callable[[], None],
        wall: Callable[[], float] = time.time,
        cards: Cards | None = None,
    ) -> None:
        self._folder = folder
        self._engine = engine
        self._agent = agent
        self._on_change = on_change
        self._wall = wall
        self._clock = asyncio.get_running_loop().time
        self._book = Book(folder.path, wall=wall)
        self._counted = (0, 0)
        self._owner = OwnersPause(lambda: folder.pause)
        self._graphics = Graphics(cards or NvmlCards(), lambda: engine.pids, lambda: engine.device)
        self._power = Power(lambda: self._graphics.lent)
        self._electricity = Electricity(
            PriceBook(folder.path / "prices"), wall=wall, clock=self._clock
        )
        self._pauses: deque[PauseStatus] = deque(maxlen=MAX_PAUSES)
        self._since = wall()
        self.life = EngineLife(engine, agent)
        self._limits = load_limits(folder.path)
        self._heed()
        self._watch = Watch(
            seen_from(place(), self._readers()),
            self._limits,
            clock=self._clock,
            working=lambda: agent.busy,
            decided=self._decided,
        )

    def _readers(self) -> Sequence[Reader]:
        return (
            self._owner,
            NamedPrograms(),
            GameMode(),
            self._graphics,
            Battery(),
            Hours(self._wall),
            self._electricity,
            Upload(lambda: self._book.now.sent),
            Energy(self._drawn),
            ProcessorOfOthers(lambda: self._engine.pids, self._clock),
            Temperature(self._degrees),
            UserIdle(self._wall),
            Metered(),
        )

    def _drawn(self) -> tuple[float, float] | None:
        """Give the kWh of the day and the month; None where no meter tells anything."""
        if (self._power.now or self._power.read(self._clock())) is None:
            return None
        return self._book.now.kwh, self._book.now.kwh_in_month

    def _degrees(self) -> list[float]:
        """Give what the lent cards say: a game on another card heats that for itself."""
        return [card.temperature for card in self._graphics.lent if card.temperature is not None]

    # --- life

    async def begin(self) -> None:
        """Look around, and start the engine if nothing speaks against it."""
        await self._look_at_cards()
        self._measure()
        await self._watch.first()
        await self.life.begin()

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch.run(), name="guard")
                group.create_task(self._count_for_ever(), name="guard-count")
                await self.life.run()
        finally:
            self._count()
            self._book.keep()

    def paused_or_resumed(self) -> None:
        """Take over the owner's pause at once: he sees in the answer what came of it."""
        self._agent.core.paused = self._folder.paused
        if not self._folder.paused:
            self._watch.trust()
        self._watch.take("owner", self._owner.look())

    def limits_changed(self) -> None:
        """Take over the limits in the folder. Raises: NotPossible."""
        self._limits = load_limits(self._folder.path)
        self._heed()
        self._watch.heed(self._limits)

    def _heed(self) -> None:
        """Serve whom the owner lets the node serve."""
        self._agent.core.share = self._limits.share
        self.life.allow(self._limits.dedicated)

    # --- decisions

    def _decided(self, decision: Decision) -> None:
        core = self._agent.core
        core.paused = self._folder.paused
        if decision.action == "resume":
            core.unhold()
            self.life.may_run = True
        elif decision.signal is not None:
            state: Hold = "draining" if decision.action == "drain" else "paused"
            core.hold(state, TOLD[decision.signal])
            if decision.action == "drain" and core.leaves_at is None:
                core.leaves_at = self._clock() + self._limits.drain
        if decision.action == "release" and self.life.may_run:
            self.life.may_run = False
            # Before the engine is gone, so that they end as given back and not as lost.
            self._agent.give_back()
        self._note(decision)
        self.life.look()
        self._agent.look()
        self._on_change()

    def _note(self, decision: Decision) -> None:
        now = self._wall()
        if decision.action == "serve":
            # What follows a resume, and says nothing new.
            return
        _log.info("guard_decided", action=decision.action, reason=decision.reason.en)
        self._since = now
        last = self._pauses[-1] if self._pauses else None
        if last is not None and last.until is None:
            if decision.signal == last.signal:
                self._since = last.since
                return
            self._pauses[-1] = msgspec.structs.replace(last, until=now)
        if decision.action != "resume":
            self._pauses.append(PauseStatus(now, None, decision.reason, decision.signal))

    # --- counting

    async def _count_for_ever(self) -> None:
        kept_at = self._clock()
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            self._count()
            if not self._limits.gpu:
                # Nobody else looks at the cards, and watts and degrees are wanted all the same.
                await self._look_at_cards()
            self._measure()
            if self._clock() - kept_at >= KEEP_SECONDS:
                kept_at = self._clock()
                # A disk that a game is being fetched to may take seconds, and answers do not wait.
                await asyncio.to_thread(self._book.keep)

    async def _look_at_cards(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._graphics.read(self._limits), COUNT_SECONDS)

    def _measure(self) -> None:
        draw = self._power.read(self._clock())
        # What a game draws while the node stands back is no cost of lending.
        watts = draw.watts if draw is not None and self.life.runs else None
        self._book.drawing(watts, self._price, self._clock())
        self._agent.core.energy = self._energy(watts)
        self._agent.core.free_vram = sum(card.free or 0 for card in self._graphics.last)

    @property
    def _price(self) -> float | None:
        """What a kWh costs now; nothing is known of it once the area is taken away."""
        return self._electricity.price if self._limits.price_area is not None else None

    def _energy(self, watts: float | None) -> messages.Energy | None:
        """Say what lending draws, for the network to show beside what it earns."""
        today = self._today()
        kwh, area = today.kwh_this_month, today.price_area or ""
        spot = today.price if today.price_basis == "today" else None
        energy = messages.Energy(watts, kwh, spot, area)
        return None if energy == messages.Energy() else energy

    def _count(self) -> None:
        sent, tokens = self._agent.sent, self._agent.tokens
        self._book.sent(sent - self._counted[0])
        self._book.made(tokens - self._counted[1])
        self._counted = (sent, tokens)

    # --- the owner's view

    @property
    def reason(self) -> Sentence:
        """Why the node does not serve, as far as the guard is concerned."""
        return self._watch.decision.reason

    def status(self) -> GuardStatus:
        """Say what was decided, and what it rests on."""
        decision = self._watch.decision
        return GuardStatus(
            action="serve" if decision.action == "resume" else decision.action,
            reason=decision.reason,
            signal=decision.signal,
            since=self._since,
            limits=self._limits,
            signals=tuple(
                SignalStatus(each.signal, each.verdict, each.why, RULES[each.signal].fails_closed)
                for each in self._watch.readings.values()
            ),
            pauses=tuple(self._pauses),
            today=self._today(),
            weights=stored_bytes(self._folder.path),
            cards=tuple(
                CardStatus(each.name or each.uuid, each.watts, each.temperature)
                for each in self._graphics.last
            ),
        )

    def _today(self) -> DayStatus:
        self._count()
        tally, draw, area = self._book.now, self._power.now, self._limits.price_area
        measured = draw is not None or tally.kwh_in_month > 0
        return DayStatus(
            sent_this_month=tally.sent,
            tokens=tally.tokens,
            watts=draw.watts if draw is not None else None,
            kwh=tally.kwh if measured else None,
            kronor=tally.kronor if tally.priced > 0 else None,
            kwh_this_month=tally.kwh_in_month if measured else None,
            metered=draw.of if draw is not None else (),
            most_watts=draw.most if draw is not None else None,
            price=self._price,
            price_area=area,
            price_source=urlsplit(SOURCE).netloc if area is not None else "",
            price_basis=self._electricity.basis if area is not None else None,
        )


__all__ = ["COUNT_SECONDS", "MAX_PAUSES", "Guarding"]
