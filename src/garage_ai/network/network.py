"""The network as one gateway sees it: beats in, control out, requests dispatched."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

import structlog

from garage_ai.catalog import CHAT_ALIAS
from garage_ai.network.admission import ImageList, Terms
from garage_ai.network.answer import Answer, Request, Trail
from garage_ai.network.books import Books
from garage_ai.network.dispatcher import Dispatcher, DispatchLimits, Link
from garage_ai.network.errands import BOOKS_SECONDS, Errands
from garage_ai.network.errors import UnknownModel
from garage_ai.network.models import Census, EnrolledNode, ModelView, NodeView
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.placement import no_link
from garage_ai.network.registry import Claim, Effect, Registry, Reread, RoomMade, Supersede, Tell
from garage_ai.network.router import Wanted, region_for
from garage_ai.network.salts import Salts
from garage_ai.network.sharing import serves
from garage_ai.network.views import by_name, census, model_view, node_view
from garage_ai.wire import subjects
from garage_ai.wire.errors import Malformed
from garage_ai.wire.frames import Priority
from garage_ai.wire.ids import Digest, GatewayId, NodeId
from garage_ai.wire.link_errors import LinkError
from garage_ai.wire.messages import (
    BEAT_INTERVAL,
    BeatNow,
    Control,
    Drain,
    Notice,
    Renewed,
    Superseded,
    Undrain,
    decode_beat,
    decode_renew,
    encode_message,
)
from garage_ai.wire.session import Message

_log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 1.0
SECONDS_PER_BEAT: Final = 0.001
"""Nodes that are asked to beat spread over this much time each; taking one in costs 50 µs."""
COMPARE_SECONDS: Final = 15.0
"""Between two looks at which nodes were removed through another gateway; one short query."""
UNKNOWN_SECONDS: Final = 30.0
MAX_UNKNOWN: Final = 10_000
RENEW_SECONDS: Final = 10.0
"""A node may ask for a new JWT this often."""
MEND_SECONDS: Final = 5.0
"""A broken link may take so long to mend before nobody is to send requests here."""


class Network:
    """Nodes, models and the way to them; one per gateway process.

    `terms` are what it asks of a node before it gives it work.
    `on_beat` hears of every node that is heard; it must be quick.
    """

    def __init__(
        self,
        link: Link,
        gateway: GatewayId,
        *,
        books: Books,
        names: Names,
        limits: DispatchLimits,
        on_beat: Callable[[NodeId], None] = lambda _: None,
        salts: Salts | None = None,
        terms: Terms | None = None,
    ) -> None:
        self._link = link
        self._on_beat = on_beat
        self._books = books
        self.registry = Registry(names, terms)
        self.dispatcher = Dispatcher(
            link, gateway, self.registry, limits=limits, apply_effects=self._apply, salts=salts
        )
        self._errands = Errands()
        self._claiming: set[tuple[str, str]] = set()
        self._unknown: dict[NodeId, float] = {}
        self._renewed: dict[NodeId, float] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._lost_at = -MEND_SECONDS

    async def start(self) -> None:
        """Read the books, hear beats and replies."""
        async with asyncio.timeout(BOOKS_SECONDS):
            for node in await self._books.nodes():
                self.registry.enrol(node)
            self.registry.claims_are(await self._books.claims(), before={})
            self.registry.images_are(await self._books.images())
        await self.dispatcher.start()
        await self._link.subscribe(subjects.ALL_BEATS, self._heard_beat)
        await self._link.subscribe(subjects.ALL_RENEWALS, self._heard_renewal)
        self._ticker = asyncio.create_task(self._tick(), name="network-tick")
        self.ask_for_beats()

    async def close(self) -> None:
        """Stop; requests under way end as cancelled."""
        await self.dispatcher.close()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker], timeout=1)
        await self._errands.close()

    def ask_for_beats(self) -> None:
        """Ask all nodes how they are, instead of waiting for their next beats.

        For a gateway that has just begun to hear them, or hears them again.
        """
        nodes = list(self.registry.nodes)
        within = min(len(nodes) * SECONDS_PER_BEAT, BEAT_INTERVAL)
        for node in nodes:
            self.control(node, BeatNow(within))

    def link_lost(self) -> None:
        """Note that the gateway's own link to NATS broke."""
        self._lost_at = time.monotonic()
        self.dispatcher.link_lost()

    async def open(self, request: Request, trail: Trail | None = None) -> Answer:
        """Send a request; `model` may be an alias. Raises: DispatchError."""
        return await self.dispatcher.open(request, trail)

    def resolve(
        self,
        model: str,
        member: str = "",
        allowed: Collection[str] | None = None,
        *,
        job: str = "",
    ) -> str:
        """Give the served name an alias stands for now, to who asks, or the name itself.

        With `allowed` an alias stands for one of these, to a job that has engines of its own for
        what these serve.

        Raises: UnknownModel when no model bears the name, NatsUnavailable when that cannot be
        known: a gateway that began without its link has heard of no node.
        """
        if model == CHAT_ALIAS:
            own = {target.model for target in self.registry.jobs if job and target.job == job}
            return min(own, default=None) or self._best_chat(member, allowed) or CHAT_ALIAS
        if self.registry.pool(model) is None and not self.registry.names.is_known(model):
            if not self._link.is_connected:
                raise no_link()
            raise UnknownModel(f"The model {model!r} does not exist.")
        return model

    def context(self, model: str, *, job: str = "") -> int | None:
        """Tell the longest context of a model, in tokens: as it is served now, else its own."""
        pool = self.registry.pool(model, job)
        served = None if pool is None else pool.context
        return served or self.registry.names.context(model)

    def region_for(
        self,
        model: str,
        allowed: Collection[str],
        member: str = "",
        *,
        job: str = "",
        priority: Priority = "chat",
    ) -> str | None:
        """Choose among regions for who asks: where most nodes have room, else where most could."""
        pool, wanted = self.registry.pool(model, job), Wanted(member=member, priority=priority)
        if pool is None:
            return min(allowed, default=None)
        return region_for(pool, allowed, wanted, time.monotonic())

    def digest(self, model: str) -> Digest | None:
        """Name the manifest that a served name stands for; None where none is known."""
        known = self.registry.names.digest(model)
        if known is not None:
            return known
        pool = self.registry.pool(model)
        return None if pool is None else pool.anyone.digest

    @property
    def ready(self) -> bool:
        """Whether some node serves a model, and is within reach."""
        mending = time.monotonic() - self._lost_at < MEND_SECONDS
        return bool(self.registry.pools) and (self._link.is_connected or mending)

    def nodes(
        self, member: str | None = None, limit: int | None = None, after: NodeId | None = None
    ) -> list[NodeView]:
        """Show all enrolled nodes, or a member's, by name, or `limit` of them from behind one.

        Raises: KeyError for an unknown node to begin behind.
        """
        nodes = self.registry.nodes
        begin = ("", "") if after is None else by_name(nodes[after])
        mine = (node for node in nodes.values() if member in (None, node.enrolled.member))
        shown = sorted(place for place in map(by_name, mine) if place > begin)
        return [self.node(node_id) for _, node_id in shown[:limit]]

    def node(self, node_id: NodeId) -> NodeView:
        """Show one node. Raises: KeyError for an unknown node."""
        images = self.registry.terms.images
        return node_view(self.registry.nodes[node_id], images, time.monotonic())

    def census(self) -> Census:
        """Count the nodes and what runs on them."""
        return census(self.registry)

    def models(
        self, allowed: Collection[str] | None = None, member: str | None = None
    ) -> list[ModelView]:
        """Show all models served now, or those of them that are allowed; the alias first.

        To a member only what serves it. The alias may be allowed itself: then it is of any.
        """
        served = {
            name: [each for each in pool if member is None or serves(each.node, member)]
            for name, pool in self.registry.pools.items()
        }
        names = [each for each in served if served[each] and (allowed is None or each in allowed)]
        views = [model_view(name, served[name]) for name in sorted(names)]
        is_given = allowed is not None and CHAT_ALIAS in allowed
        best = self._best_chat(member or "", None if is_given else allowed)
        if best is None:
            return views
        alias = replace(model_view(best, served[best]), name=CHAT_ALIAS, alias_of=best)
        return [alias, *views]

    def enrol(self, node: EnrolledNode) -> None:
        """Let a node in that was just enrolled."""
        self._unknown.pop(node.id, None)
        self._apply(self.registry.enrol(node))

    def drain(self, node_id: NodeId, reason: str) -> None:
        """Take a node out of choice and tell it so. Raises: KeyError for an unknown node."""
        self._apply(self.registry.drain(node_id, on=True))
        self.control(node_id, Drain(reason))

    def undrain(self, node_id: NodeId) -> None:
        """Take a drained node in again. Raises: KeyError for an unknown node."""
        self._apply(self.registry.drain(node_id, on=False))
        self.control(node_id, Undrain())

    def remove(self, node_id: NodeId) -> None:
        """Forget a node; its JWT is revoked by the authority."""
        self.registry.remove(node_id)
        self._renewed.pop(node_id, None)
        self._unknown.pop(node_id, None)

    def images_are(self, images: ImageList) -> None:
        """Take note of what administrators have decided about images."""
        self._apply(self.registry.images_are(images))

    def catalogue_is(self, catalogue: Iterable[KnownModel]) -> None:
        """Know another catalogue."""
        self._apply(self.registry.catalogue_is(catalogue))

    def compare(self) -> None:
        """Take over what the books say by now, instead of a while later."""
        self._errands.begin("compare", self._compare())

    def _best_chat(self, member: str = "", allowed: Collection[str] | None = None) -> str | None:
        served = {
            name: pool.slots
            for name, pool in self.registry.pools.items()
            if (allowed is None or name in allowed)
            and any(r.served.kind == "chat" and serves(r.node, member) for r in pool)
        }
        return self.registry.names.best_chat(served)

    def _heard_beat(self, message: Message) -> None:
        try:
            _, node_id = subjects.parse_beat(message.subject)
        except Malformed:
            return
        now, node = time.monotonic(), self.registry.nodes.get(node_id)
        if node is None:
            self._look_up(node_id)
            return
        try:
            beat = decode_beat(message.payload)
        except Malformed as error:
            if node.pace.takes(now):  # the log would fill the disk
                _log.warning("bad_beat", node=node_id, detail=str(error))
            return
        self._on_beat(node_id)
        self._apply(self.registry.heard(node_id, beat, now, time.time()))

    def _heard_renewal(self, message: Message) -> None:
        try:
            node_id = subjects.parse_renew(message.subject)
            session = decode_renew(message.payload).session
        except Malformed:
            return
        node = self.registry.nodes.get(node_id)
        now = time.monotonic()
        if node is None or node.session != session:
            return
        if now - self._renewed.get(node_id, -RENEW_SECONDS) < RENEW_SECONDS:
            return
        if self._errands.begin("renew", self._renew(node_id)):
            self._renewed[node_id] = now

    def _look_up(self, node_id: NodeId) -> None:
        """Ask the books for a node that was enrolled or let in elsewhere, but not at each beat."""
        now = time.monotonic()
        if now - self._unknown.get(node_id, -UNKNOWN_SECONDS) < UNKNOWN_SECONDS:
            return
        if not self._errands.begin("look_up", self._admit(node_id)):
            return
        if len(self._unknown) >= MAX_UNKNOWN:
            self._unknown.clear()
        self._unknown[node_id] = now

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case RoomMade():
                    self.dispatcher.placement.room_made(effect.target)
                case Claim():
                    self._claim(effect)
                case Supersede():
                    _log.warning("session_superseded", node=effect.node)
                    self.control(effect.node, Superseded(effect.session))
                    self.dispatcher.session_replaced(effect.node)
                case Reread():
                    self._look_up(effect.node)
                case Tell():
                    _log.warning("node_told", node=effect.node, code=effect.code)
                    self.control(effect.node, Notice(effect.code, effect.message))

    def _claim(self, claim: Claim) -> None:
        whose, node = (claim.name, claim.member), self.registry.nodes.get(claim.node)
        if node is None or whose in self._claiming or not node.claims.takes(time.monotonic()):
            return
        # One that is dropped, since too many wait, is made anew by the next beat.
        if self._errands.begin("claim", self._settle(claim)):
            self._claiming.add(whose)

    async def _settle(self, claim: Claim) -> None:
        in_catalogue = self.registry.names.in_catalogue
        reserved = in_catalogue(claim.name)
        try:
            admitted = await self._books.claim(
                claim.name, claim.member, claim.digest, reserved=reserved
            )
            # What the catalogue took or gave back meanwhile is claimed anew by the next beat.
            if in_catalogue(claim.name) == reserved:
                self._apply(self.registry.settle(claim, admitted=admitted))
        finally:
            self._claiming.discard((claim.name, claim.member))

    async def _admit(self, node_id: NodeId) -> None:
        node = await self._books.node(node_id)
        if node is not None:
            self._apply(self.registry.enrol(node))

    async def _compare(self) -> None:
        """Take over what other gateways have decided; what came here meanwhile is not judged."""
        known = [node.enrolled for node in self.registry.nodes.values()]
        kept = {node.id: node for node in await self._books.nodes()}
        for before in known:
            if before.id not in kept:
                _log.info("node_removed_elsewhere", node=before.id)
                self.remove(before.id)
            elif (node := self.registry.nodes.get(before.id)) and node.enrolled is before:
                self._apply(self.registry.enrol(kept[before.id]))
        self.images_are(await self._books.images())
        claims = self.registry.names.claims
        self._apply(self.registry.claims_are(await self._books.claims(), before=claims))

    async def _renew(self, node_id: NodeId) -> None:
        self.control(node_id, Renewed(await self._books.renew(node_id)))

    def control(self, node_id: NodeId, control: Control) -> None:
        """Tell a node something; lost where there is no link."""
        with contextlib.suppress(LinkError):
            self._link.publish(subjects.to_node(node_id, "control"), encode_message(control))

    async def _tick(self) -> None:
        last = compared = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - compared >= COMPARE_SECONDS:
                compared = now
                self.compare()
                self._errands.log_dropped()
            # After a sleep of this process, or without a link, silence says nothing of the nodes.
            if now - last < 2 * TICK_SECONDS and self._link.is_connected:
                self.registry.tick(now)
            last = now
