"""A group's engine behind the port of any other: one rig answers, the others lend their cards."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.port import Answer, Device, EngineLoad, Fence, Offer
from garage_ai.node.engines.vllm import Patience
from garage_ai.node.errors import EngineLost
from garage_ai.node.fitting.book import Peak
from garage_ai.node.group.gang import EndRank, Gang, Instruction, Planner, Send, StartRank
from garage_ai.node.group.lending import Lending
from garage_ai.node.group.messages import (
    Bulk,
    Came,
    Epoch,
    Facts,
    GangPlan,
    Member,
    Message,
    Ping,
    Pong,
)
from garage_ai.node.group.part import Part
from garage_ai.node.group.rank import LeadingRank
from garage_ai.node.group.reasons import say
from garage_ai.node.group.rigs import Rigs
from garage_ai.node.group.seat import Seat
from garage_ai.node.group.sharing import terms_of
from garage_ai.node.group.tunnel import TunnelKeeper
from garage_ai.node.group.view import GroupView
from garage_ai.node.guard.words import NOTHING, Sentence
from garage_ai.wire.frames import Priority, Route
from garage_ai.wire.gangs import Terms, signed_text, write_document, write_terms
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import EngineState

_log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 10.0
"""Between two looks whether the group's own network has been set up."""


class GroupEngine:
    """Meets the other rigs, and runs this one's part of their gangs."""

    kind = "vllm"

    def __init__(
        self,
        seat: Seat,
        lending: Lending,
        planner: Planner,
        tunnel: TunnelKeeper,
        *,
        run: Path,
        logs: Path,
        launcher: Launcher | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._seat = seat
        self._lending = lending
        self._tunnel = tunnel
        self._part = Part(
            seat.node, lending, tunnel, run=run, logs=logs, launcher=launcher, patience=patience
        )
        self._launcher = launcher
        self._me = Member(seat.node, lending.options.digest, cards=lending.cards, wish=seat.wish)
        self._told = self._me
        self._wants = False
        self._gang = Gang(self._me, planner)
        self._rigs = Rigs(seat.node, seat.choice, seat.secret, self)
        self._life: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._looked_at = -LOOK_SECONDS
        self._listener: Callable[[], None] = lambda: None
        self._seen: object = None

    # --- what agents ask of any engine

    @property
    def fence(self) -> Fence:
        """What stands between it and this PC."""
        return self._launcher.fence if self._launcher is not None else Fence()

    @property
    def device(self) -> Device | None:
        """What this rig's part computes on; bare it takes cards that nobody has named."""
        options = self._lending.options
        if options.on_cpu:
            return Device()
        return Device(options.gpus) if options.gpus else None

    @property
    def state(self) -> EngineState:
        """Where the gang stands, on the rig that answers for it; elsewhere nothing is served."""
        if not self._tasks:
            return "stopped"
        if self._unheard:
            return "failed"
        phase = self._gang.phase
        if phase in ("reserved", "working"):
            return "stopped"
        return "ready" if phase == "serving" and self._answers else "loading"

    @property
    def reason(self) -> str:
        """Why nothing is served here; empty when it is."""
        if self._unheard or self.state == "ready" or not self._tasks:
            return self._unheard
        gang = self._gang
        if gang.phase in ("reserved", "working"):
            return say("grouped", node=gang.epoch.leader)
        own = self._rank.reason if self._rank is not None and gang.leads else ""
        words = own or self._lending.lacks or gang.reason or say(gang.phase)
        if self._rigs.blind:
            words = f"{words}; {self._rigs.blind}"
        return say("of_group", node=self._seat.choice.name, words=words)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The model, where the gang is led from: the group is one node."""
        if self._rank is None or not self._gang.leads:
            return ()
        return self._rank.offers

    @property
    def pids(self) -> frozenset[int]:
        """The processes of this rig's part."""
        return self._rank.pids if self._rank is not None else frozenset()

    @property
    def load(self) -> EngineLoad | None:
        """What the gang says of its load; None where it is not led from."""
        return self._rank.load if self._rank is not None else None

    @property
    def seconds_left(self) -> float:
        """Its guess how long it still loads; 0 when it has none."""
        return self._rank.seconds_left if self._rank is not None else 0.0

    @property
    def smaller(self) -> Sentence:
        """Nothing: a gang is planned anew as a whole."""
        return NOTHING

    @property
    def memory(self) -> Peak | None:
        """Not measured: what a part takes depends on the gang."""
        return None

    async def measure(self) -> None:
        """Do nothing."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the state has changed."""
        self._listener = listener

    async def start(self) -> None:
        """Lend this rig to its group from now on."""
        if not self._tasks:
            run = asyncio.create_task(self._rigs.run(), name="group")
            self._tasks = [run, asyncio.create_task(self._tick_for_ever(), name="group-ticks")]
        self._wants = True
        self._lending.doubt()
        self._look_if_due()
        self._lend()

    async def release(self) -> None:
        """Take this rig back at once; returns when nothing of the gang runs here."""
        self._wants = False
        self._lend()
        self._lending.break_off()
        await self._part.apart.wait()

    async def stop(self) -> None:
        """Leave the group; idempotent."""
        if self._tasks:
            await self.release()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._lending.stop(), return_exceptions=True)
        self._changed()

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,
        salt: str = "",
        priority: Priority = "chat",
    ) -> Answer:
        """Put a request to the gang, on the rig that leads it. Raises: EngineError."""
        if self._rank is None or not self._answers:
            raise EngineLost("the group is not at work here")
        return await self._rank.ask(
            route, body, offer=offer, stream=stream, salt=salt, priority=priority
        )

    def view(self) -> GroupView:
        """Say how the group is."""
        gang = self._gang
        name = self._seat.choice.name
        rigs = self._rigs
        return GroupView(
            name,
            gang.epoch,
            gang.phase,
            gang.plan,
            gang.members,
            rigs.links,
            rigs.refused,
            gang.waits,
        )

    def shares(self) -> bytes:
        """Give the document of how the gang's rigs share, where it is led from; else nothing."""
        terms = self._terms if self._gang.phase == "serving" else None
        if terms is None:
            return b""
        return write_document(terms, {each.node: each.agreed for each in self._gang.members})

    # --- rigs

    def came(self, node: NodeId) -> None:
        """Tell a rig how this one is."""
        self._rigs.send(node, Facts(self._told))

    def measured(self, node: NodeId) -> None:  # noqa: ARG002 - all are told of all
        """Tell what is between."""
        self._tell(links=self._rigs.links)

    def went(self, node: NodeId) -> None:
        """Do without a rig."""
        self._do(self._gang.lost(node, self._now()))
        # It may come back over another cable.
        self._tell(links=self._rigs.links)

    def heard(self, node: NodeId, message: Message) -> None:
        """Take a rig's word."""
        match message:
            case Facts(member):
                if member.node == node:
                    self._do(self._gang.met(member, self._now()))
            case Ping() | Pong() | Bulk() | Came():
                return
            case _:
                self._do(self._gang.heard(node, message, self._now()))

    async def _tick_for_ever(self) -> None:
        while True:
            try:
                await self._tick()
            except Exception:  # what is late must be seen to whatever went wrong once
                _log.exception("group_tick_broke")
            await asyncio.sleep(TICK_SECONDS)

    async def _tick(self) -> None:
        if self._now() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._now()
            there = await self._tunnel.is_there()
            self._tell(tunnel=self._tunnel.end if there else None)
            self._agree()
        self._look_if_due()
        chance = random.random()  # noqa: S311 - jitter
        self._do(self._gang.tick(self._now(), chance))

    def _lend(self) -> None:
        willing = self._wants and not self._lending.lacks
        self._tell(willing=willing, cards=self._lending.cards)

    def _look_if_due(self) -> None:
        """Look at the cards while no gang has them; none begins before that is done."""
        gang = self._gang
        if self._wants and gang.phase == "apart" and not gang.held:
            gang.held = self._lending.begin(self._looked)

    def _looked(self) -> None:
        self._gang.held = False
        self._lend()

    def _tell(self, **news: object) -> None:
        changed = msgspec.structs.replace(self._me, **news)
        if changed != self._me:
            self._me = changed
            self._do(self._gang.met(changed, self._now()))

    # --- the gang

    @property
    def _terms(self) -> Terms | None:
        """How the gang of now shares; None without one, or without others."""
        plan = self._gang.plan
        return None if plan is None else terms_of(plan, self._gang.epoch, self._me.digest)

    def _agree(self) -> None:
        """Sign how the gang shares, by this rig's own reckoning, while its part runs.

        Signed again now and then, since the node's key may have been replaced.
        """
        terms = self._terms
        if terms is None or self._rank is None or self._rank.state != "ready":
            return
        try:
            self._tell(agreed=self._seat.sign(signed_text(write_terms(terms))))
        except IdentityError as error:
            _log.warning("shares_unsigned", code=error.code)
            self._tell(agreed=b"")

    def _do(self, instructions: list[Instruction]) -> None:
        for each in instructions:
            match each:
                case Send(to, message):
                    self._rigs.send(to, message)
                case StartRank(epoch, plan):
                    # What it has signed was of an earlier gang.
                    self._tell(agreed=b"")
                    self._part.begin()
                    self._life = asyncio.create_task(self._live(epoch, plan), name="rank")
                case EndRank():
                    self._part.end()
        if self._gang.myself != self._told:
            self._told = self._gang.myself
            self._rigs.tell_all(Facts(self._told))
        self._look_if_due()
        self._changed()

    async def _live(self, epoch: Epoch, plan: GangPlan) -> None:
        """Run this rig's part of a gang until it is told to end, or has ended."""
        reason = say("agent_failed")
        try:
            reason = await self._part.run(plan, lambda: self._rank_changed(epoch))
        finally:
            self._do(self._gang.rank_ended(epoch, reason, self._now()))

    def _rank_changed(self, epoch: Epoch) -> None:
        if self._rank is None:
            return
        if self._rank.state == "ready":
            self._do(self._gang.rank_up(epoch, self._now()))
            self._agree()
        self._changed()

    @property
    def _unheard(self) -> str:
        """Why nobody hears this rig, where that matters: a gang of one needs nobody to."""
        plan = self._gang.plan
        return "" if plan is not None and len(plan.places) == 1 else self._rigs.trouble

    @property
    def _rank(self) -> LeadingRank | None:
        return self._part.rank

    @property
    def _answers(self) -> bool:
        return self._gang.leads and self._rank is not None and self._rank.state == "ready"

    def _changed(self) -> None:
        seen = (self.state, self.reason, self.offers)
        if seen != self._seen:
            self._seen = seen
            self._listener()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


__all__ = ["GroupEngine"]
