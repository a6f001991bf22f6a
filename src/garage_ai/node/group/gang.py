"""The life of a gang, as one of its rigs sees it: pure, events in, instructions out.

    apart ──plan, I am its first──→ reserving ──all reserved──→ starting ──all up──→ serving
      │  ↑                              └──────────one lost, one refuses, too late──────┤
      │  └────────all have ended──────────────────── ending ←───────────────────────────┘
      └──reserve──→ reserved ──start──→ working ──end, leader lost──→ ending ──→ apart

Each gang has an epoch, and a rig takes part in it once, and in none older than any it has heard of:
whoever still leads an older one finds that its ranks have gone, never that they serve two. All
ranks live and end together; when one is lost, what is left is planned anew. Who leads follows from
the plan, which follows from what the rigs say of themselves. Time and chance come from the caller.
"""

from typing import Final, Literal

import msgspec

from garage_ai.node.group.failures import Failures, wait_after
from garage_ai.node.group.messages import (
    MAX_HEARD,
    NEVER,
    End,
    Ended,
    Epoch,
    GangMessage,
    GangPlan,
    Member,
    Refused,
    Reserve,
    Reserved,
    Start,
    Started,
)
from garage_ai.node.group.reasons import bounded, say
from garage_ai.node.group.steps import EndRank, Instruction, Planner, Refusal, Send, StartRank
from garage_ai.wire.ids import NodeId

RESERVE_SECONDS: Final = 15.0
"""Longest wait for every rank to be reserved, and of a rank for the word to start."""

START_SECONDS: Final = 3900.0
"""Longest start: an engine's own patience with its weights, and a little more."""

END_SECONDS: Final = 15.0
"""Longest wait for other ranks to say that they have ended."""

GOOD_SECONDS: Final = 60.0
"""A gang that served so long failed for a new reason."""

_AHEAD: Final = 1 << 20
"""How far a gang's epoch may be beyond all that others may tell of."""

Phase = Literal["apart", "reserving", "starting", "serving", "reserved", "working", "ending"]
LEADING: Final[frozenset[Phase]] = frozenset({"reserving", "starting", "serving"})


class Gang:
    """What one rig does for the gangs of its group."""

    def __init__(self, me: Member, plan: Planner) -> None:
        self.phase: Phase = "apart"
        self.epoch = NEVER
        self.plan: GangPlan | None = None
        self.reason = ""
        """Why nothing is served here, for the owner; empty while a gang is at work."""
        self.waits = False
        """Whether a gang can begin only with other rigs, or by one of them."""
        self.highest = NEVER
        self.held = False
        """Whether this rig can begin nothing for a moment: it looks at its cards."""
        self._me = me.node
        self._digest = me.digest
        self._members = {me.node: me}
        self._planner = plan
        self._answered: set[NodeId] = set()
        self._runs = False
        self._ready = False
        self._until = 0.0
        self._served_at: float | None = None
        self._failures = 0
        self._teams = Failures()
        self._retry_at: float | None = 0.0

    @property
    def leads(self) -> bool:
        """Whether this rig answers for a gang."""
        return self.phase in LEADING

    @property
    def runs(self) -> bool:
        """Whether a part of a gang runs here, or is about to, or has not ended yet."""
        return self._runs

    @property
    def members(self) -> tuple[Member, ...]:
        """Who is there, by id."""
        return tuple(self._members[node] for node in sorted(self._members))

    @property
    def myself(self) -> Member:
        """What the other rigs are to be told of this one, whenever it changes."""
        engaged = None if self.phase == "apart" else self.epoch
        known = self._members[self._me]
        return msgspec.structs.replace(known, engaged=engaged, highest=self._heard_of)

    # --- events

    def met(self, member: Member, now: float) -> list[Instruction]:
        """Take what a rig, this one too, says of itself."""
        self._members[member.node] = member
        self._rest(now)
        self.highest = max(self.highest, member.highest)
        at_work = self.phase not in ("apart", "ending")
        if member.node == self._me and not member.willing and at_work:
            return self._leave(say("paused"), now)
        return self._try(now)

    def lost(self, node: NodeId, now: float) -> list[Instruction]:
        """Take note that a rig is gone: it may still run, but not hear or be heard."""
        self._members.pop(node, None)
        if self.phase == "ending":
            self._answered.add(node)
            return self._ended()
        if self._takes(node) and (self.leads or node == self.epoch.leader):
            return self._leave(say("rig_lost", node=node), now)
        return self._try(now)

    def heard(self, node: NodeId, message: GangMessage, now: float) -> list[Instruction]:
        """Take another rig's word."""
        if isinstance(message, Refused):
            self.highest = max(self.highest, message.highest)
        match message:
            case Reserve():
                return self._reserve(node, message, now)
            case End():
                return self._told_to_end(node, message, now)
            case Start():
                return self._start_as_told(node, message)
        if message.epoch != self.epoch or self.epoch.leader != self._me or not self._takes(node):
            return []
        return self._answer(node, message, now)

    def _answer(
        self, node: NodeId, message: Reserved | Started | Refused | Ended, now: float
    ) -> list[Instruction]:
        match message:
            case Reserved():
                return self._reserved(node, now)
            case Started():
                return self._started(node, now)
            case _:
                return self._rank_gave_up(node, message.reason, now)

    def rank_up(self, epoch: Epoch, now: float) -> list[Instruction]:
        """Take note that this rig's part runs; a leader's is up once it answers."""
        if epoch != self.epoch:
            return []
        if self.phase == "working":
            self._served_at = now if self._served_at is None else self._served_at
            return [Send(epoch.leader, Started(epoch))]
        return self._started(self._me, now) if self.phase == "starting" else []

    def rank_ended(self, epoch: Epoch, reason: str, now: float) -> list[Instruction]:
        """Take note that nothing of this rig's part is left, whoever ended it."""
        if epoch != self.epoch or not self._runs:
            return []
        self._runs = False
        if self.phase == "ending":
            return self._ended()
        return self._fail(reason or say("rank_ended"), None, now)

    def tick(self, now: float, chance: float) -> list[Instruction]:
        """Look at what is late; to be called about once a second, `chance` between 0 and 1."""
        self._rest(now)
        if self.phase == "apart":
            if self._retry_at is None:
                self._retry_at = now + wait_after(self._failures, chance)
            return self._try(now)
        if now < self._until:
            return []
        if self.phase == "ending":
            # Whoever has not said so by now will refuse the next gang, if it still runs.
            self._answered |= set(self._others)
            return self._ended()
        if self.phase in ("reserving", "starting", "reserved"):
            return self._fail(say("rank_late"), None, now)
        return []

    # --- leading

    def _try(self, now: float) -> list[Instruction]:
        me = self._members[self._me]
        if self.phase != "apart" or self.held or not me.willing:
            return []
        if self._retry_at is None or now < self._retry_at:
            return []
        found = self._planner(self._free)
        self.waits = isinstance(found, Refusal) or found.leader != self._me
        if isinstance(found, Refusal):
            self.reason = found.reason
            return []
        if found.leader != self._me:
            self.reason = say("other_leads", node=found.leader)
            return []
        self.epoch = self.highest = Epoch(self.highest.number + 1, self._me)
        self._enter("reserving", found, now + RESERVE_SECONDS)
        asks: list[Instruction] = [
            Send(node, Reserve(self.epoch, self._digest, found)) for node in self._others
        ]
        return asks + self._reserved(self._me, now)

    def _reserved(self, node: NodeId, now: float) -> list[Instruction]:
        if self.phase != "reserving" or not self._all_answered(node):
            return []
        plan = self._planned
        self._enter("starting", plan, now + START_SECONDS)
        self._runs = True
        starts: list[Instruction] = [Send(each, Start(self.epoch)) for each in self._others]
        return [*starts, StartRank(self.epoch, plan)]

    def _started(self, node: NodeId, now: float) -> list[Instruction]:
        if self.phase == "starting" and self._all_answered(node):
            self._enter("serving", self._planned, float("inf"))
            self._served_at = now
        return []

    def _rank_gave_up(self, node: NodeId, reason: str, now: float) -> list[Instruction]:
        if self.phase == "ending":
            self._answered.add(node)
            return self._ended()
        if not self.leads:
            return []
        words = say("rank_of", node=node, words=reason or say("rank_ended"))
        if reason == say("paused"):
            return self._leave(words, now)
        return self._fail(words, node, now)

    # --- following

    def _reserve(self, node: NodeId, asked: Reserve, now: float) -> list[Instruction]:
        epoch, plan = asked.epoch, asked.plan
        if epoch.leader != node or plan.leader != node or self._me not in plan.nodes[1:]:
            return []
        # That one is the highest is no reason: others may have told of it before its leader did.
        if epoch < self.highest or epoch == self.epoch:
            return [Send(node, Refused(epoch, self._heard_of, say("later_gang")))]
        if epoch.number > max(self.highest.number, MAX_HEARD) + _AHEAD:
            return []
        gives_way: list[Instruction] = []
        if self.phase == "reserving":
            # Two began at once: the later one goes first, once this one's ranks are free.
            gives_way = self._leave(say("led_elsewhere"), now)
        why = self._why_not(asked)
        if why:
            return [*gives_way, Send(node, Refused(epoch, self._heard_of, why))]
        self.epoch = self.highest = epoch
        self._enter("reserved", plan, now + RESERVE_SECONDS)
        return [*gives_way, Send(node, Reserved(epoch))]

    def _why_not(self, asked: Reserve) -> str:
        if self.phase != "apart":
            return say("engaged")
        if not self._members[self._me].willing:
            return say("not_lent")
        if self.held:
            return say("looking")
        return "" if asked.digest == self._digest else say("other_model")

    def _start_as_told(self, node: NodeId, message: Start) -> list[Instruction]:
        if self.phase != "reserved" or message.epoch != self.epoch or self.epoch.leader != node:
            return []
        plan = self._planned
        self._enter("working", plan, float("inf"))
        self._runs = True
        return [StartRank(self.epoch, plan)]

    def _told_to_end(self, node: NodeId, message: End, now: float) -> list[Instruction]:
        if message.epoch != self.epoch or self.epoch.leader != node or self.phase == "apart":
            return [Send(node, Ended(message.epoch))] if message.epoch.leader == node else []
        return [] if self.phase == "ending" else self._leave(message.reason, now)

    # --- ending

    def _fail(self, reason: str, suspect: NodeId | None, now: float) -> list[Instruction]:
        """Leave a gang that has not come to work, or no longer does."""
        if self.phase in ("starting", "serving"):
            self._teams.failed(self._planned.nodes, suspect, now)
        return self._leave(reason, now)

    def _leave(self, reason: str, now: float) -> list[Instruction]:
        """End this rig's part, and if it leads, everybody's."""
        reason = bounded(reason)
        good = self._served_at is not None and now - self._served_at > GOOD_SECONDS
        self._failures = 1 if good else self._failures + 1
        if good:
            self._teams.served(self._planned.nodes)
        self._rest(now)
        waits_for = [node for node in self._others if self.leads and node in self._members]
        told: list[Instruction] = [Send(node, End(self.epoch, reason)) for node in waits_for]
        self._enter("ending", self._planned, now + END_SECONDS)
        self._answered = set(self._others) - set(waits_for)
        self.reason = reason
        if self._runs:
            return [*told, EndRank(self.epoch)]
        return told + self._ended()

    def _ended(self) -> list[Instruction]:
        """Be apart again once nothing is waited for."""
        if self._runs or not self._answered >= set(self._others):
            return []
        leader = self.epoch.leader
        told: list[Instruction] = []
        if leader != self._me and leader in self._members:
            told = [Send(leader, Ended(self.epoch, self.reason))]
        self.phase, self.plan, self._served_at = "apart", None, None
        # The next tick brings the chance that keeps two rigs from trying again at once.
        self._retry_at = None
        return told

    # --- what is known

    def _rest(self, now: float) -> None:
        """Say which teams are left alone by now."""
        own = self._members[self._me]
        self._members[self._me] = msgspec.structs.replace(own, avoids=self._teams.resting(now))

    @property
    def _heard_of(self) -> Epoch:
        return min(self.highest, Epoch(MAX_HEARD, self.highest.leader))

    @property
    def _planned(self) -> GangPlan:
        if self.plan is None:
            raise AssertionError(f"{self.phase} in {self.epoch} without a plan")
        return self.plan

    @property
    def _others(self) -> tuple[NodeId, ...]:
        return tuple(node for node in self._planned.nodes if node != self._me)

    @property
    def _free(self) -> tuple[Member, ...]:
        """Who could be part of a gang now, by id."""
        return tuple(
            each
            for each in self.members
            if each.willing and (each.engaged is None or each.node == self._me)
        )

    def _takes(self, node: NodeId) -> bool:
        """Whether a rig has a part in the gang of now."""
        return self.plan is not None and node in self.plan.nodes

    def _all_answered(self, node: NodeId) -> bool:
        self._answered.add(node)
        return self._answered >= set(self._planned.nodes)

    def _enter(self, phase: Phase, plan: GangPlan, until: float) -> None:
        self.phase, self.plan, self._until = phase, plan, until
        self._answered = set()
        self.reason, self.waits = "", False


__all__ = [
    "END_SECONDS",
    "GOOD_SECONDS",
    "RESERVE_SECONDS",
    "START_SECONDS",
    "EndRank",
    "Gang",
    "Instruction",
    "Phase",
    "Planner",
    "Refusal",
    "Send",
    "StartRank",
]
