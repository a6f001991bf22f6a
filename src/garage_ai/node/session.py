"""One session of a node: link, agent, engine and the owner's commands, held together."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from garage_ai.node.agent import Agent
from garage_ai.node.bench.drift import Trend
from garage_ai.node.bench.idle import IdleBench
from garage_ai.node.control import Ask, ControlServer
from garage_ai.node.engines.port import Engine
from garage_ai.node.errors import GatewayAway, NodeError, Removed
from garage_ai.node.events import Begun, Event, Link, Refused, State, Stopping
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.guard.words import NOTHING
from garage_ai.node.guarding import Guarding
from garage_ai.node.pauses import Pause
from garage_ai.node.records import nats_tls_for, own_urls, record_with, removed, tls_for
from garage_ai.node.renewal import JwtKeeper, ask_gateway
from garage_ai.node.rotation import KeyChange, begun, rotate_at_gateway
from garage_ai.node.signals import Signals
from garage_ai.node.status import Status, agent_status, refusal_in
from garage_ai.node.trouble import Trouble
from garage_ai.wire import subjects
from garage_ai.wire.connection import Connection, Listeners
from garage_ai.wire.identity import NodeCredentials
from garage_ai.wire.link_errors import HandlerFailed, LinkError, PermissionDenied
from garage_ai.wire.messages import Renew, encode_message

_log = structlog.get_logger(__name__)

DRAIN_SECONDS: Final = 30.0
"""Longest end of what runs when the process is asked to stop."""

CALM_SECONDS: Final = 15.0
"""Between two looks at a JWT whose end is days away."""

_TROUBLE_SECONDS: Final = 1.0
_BREATH_SECONDS: Final = 0.2

Tell = Callable[[Event], None]


class NodeSession:
    """One agent with all that it needs, from its folder."""

    def __init__(
        self,
        folder: NodeFolder,
        record: Record,
        engine: Engine,
        tell: Tell,
        *,
        calm_seconds: float = CALM_SECONDS,
    ) -> None:
        self._calm_seconds = calm_seconds
        self._folder = folder
        self._record = record
        self._engine = engine
        self._tell = tell
        self._identity = folder.identity.load()
        self._keeper = JwtKeeper(folder.identity, self._identity)
        self._tls = tls_for(record)
        self._trouble = Trouble(random.SystemRandom().random)
        self._change = KeyChange()
        if begun(folder.identity):
            self._change.ask()
        self._attention = asyncio.Event()
        self._fresh = False
        self._reconnecting = False
        self._told: State | None = None
        self._refused = ""
        self._started_at = time.time()
        self._loop = asyncio.get_running_loop()
        self._link = Connection(
            record.urls,
            credentials=NodeCredentials(folder.identity, lambda: self._identity),
            name=f"node-{record.node}",
            tls=nats_tls_for(record, self._tls),
            listeners=Listeners(
                on_connect=self._connected,
                on_disconnect=self._disconnected,
                on_error=self._failed,
            ),
        )
        self.agent = Agent(
            record.node,
            record.region,
            engine=engine,
            link=self._link,
            on_renewed=self._renewed,
            on_change=self._changed,
            free_memory=free_memory,
            paused=folder.paused,
        )
        self._guard = Guarding(folder, engine, self.agent, on_change=self._changed)
        self._control = ControlServer(folder.run, self._act)
        self._bench: IdleBench | None = None
        self._stop_asked = asyncio.Event()
        self.restart_asked = False

    async def run(self, signals: Signals) -> None:
        """Serve until asked to stop. Raises: NodeError when the node cannot go on."""
        await self._control.start()
        guard: asyncio.Task[None] | None = None
        measuring: asyncio.Task[None] | None = None
        try:
            await self._guard.begin()
            guard = asyncio.create_task(self._guard.run(), name="guard")
            await self.agent.start()
            self._tell(Begun("network", ", ".join(self._record.urls)))
            self._link.start()
            measuring = self._measuring()
            await self._until_the_end(signals, guard)
        finally:
            await self.agent.stop(0, signals.hurry)
            await _cancelled(measuring)
            await _cancelled(guard)
            await self._control.stop()
            await self._engine.stop()
            await self._link.close()

    async def _until_the_end(self, signals: Signals, guard: asyncio.Task[None]) -> None:
        care = asyncio.create_task(self._care(), name="care")
        stop = {asyncio.ensure_future(each.wait()) for each in (signals.stop, self._stop_asked)}
        try:
            ends: set[asyncio.Future[Any]] = {care, guard, self.agent.ended, *stop}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (care, *stop):
                each.cancel()
            await asyncio.gather(care, *stop, return_exceptions=True)
        if self.agent.ended.done():
            await self.agent.stop(0, signals.hurry)
            raise self.agent.ended.result()
        if self.agent.busy:
            self._tell(Stopping(len(self.agent.core.running), DRAIN_SECONDS))
        await self.agent.stop(DRAIN_SECONDS, signals.hurry)
        for task in (care, guard):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _measuring(self) -> asyncio.Task[None] | None:
        """Measure what is lent for good: no owner's own server, nothing that is only tried out."""
        choice = self._record.choice
        if choice.engine == "external" or choice.sandbox == "none":
            return None
        self._bench = IdleBench(self._folder, self._record, self._engine, self.agent)
        return asyncio.create_task(self._bench.run(), name="measuring")

    # --- the link

    def _connected(self, url: str) -> None:
        self._trouble.connected()
        self._keeper.connected()
        if self._fresh:
            # Every connect reads the JWT anew, so this one has brought the new one into force.
            self._fresh = False
            self.agent.core.undrain("renewal")
            self.agent.core.undrain("rotation")
        self._tell(Link(url))
        self.agent.connected()
        self.agent.look()

    def _disconnected(self, error: LinkError) -> None:
        self.agent.disconnected()
        if self._reconnecting:
            self._reconnecting = False
            return
        self._tell(Link("", str(error)))
        self._failed(error)

    def _failed(self, error: LinkError) -> None:
        misused = isinstance(error, HandlerFailed | PermissionDenied)
        if not (misused or self._link.is_connected):
            self._trouble.failed(error, self._loop.time())
            self._attention.set()

    async def _care(self) -> None:
        """Look after key, JWT and link, now and then, and soon when something is wrong."""
        while True:
            calm = self._link.is_connected and not (self._fresh or self._change.wanted)
            self._attention.clear()
            try:
                async with asyncio.timeout(self._calm_seconds if calm else _TROUBLE_SECONDS):
                    await self._attention.wait()
                    await asyncio.sleep(_BREATH_SECONDS)
            except TimeoutError:
                pass
            if self._change.wanted:
                await self._change_key()
            elif self._link.is_connected:
                await self._renew()
            else:
                await self._mend()

    async def _renew(self) -> None:
        agent = self.agent
        due = self._keeper.due(busy=agent.busy)
        if self._fresh:
            if not agent.busy:
                self._reconnecting = True
                _log.info("jwt_comes_into_force")
                await self._link.reconnect()
            elif due == "drain_now":
                # A node that is never idle would be cut off in the middle of its work.
                agent.core.drain("renewal", "the node's credentials are being renewed")
                agent.look()
        elif due != "no" and self._keeper.may_ask():
            request = encode_message(Renew(agent.core.session))
            try:
                self._link.publish(subjects.renew(self._record.node), request)
            except LinkError as error:
                _log.debug("renewal_unsent", code=error.code)

    def _renewed(self, jwt: str) -> None:
        if self._keeper.take(jwt):
            _log.info("jwt_renewed")
            self._fresh = True
            self._attention.set()

    async def _change_key(self) -> None:
        """Take a new key once nothing runs: the network cuts the old one's link at once."""
        core = self.agent.core
        core.drain("rotation", "the node's key is being replaced")
        self.agent.look()
        if self.agent.busy:
            return
        self._reconnecting = self._link.is_connected
        try:
            fresh = await rotate_at_gateway(self._folder.identity, self._record, self._tls)
        except NodeError as error:
            self._reconnecting = False
            self._key_stays(error)
            return
        self._reconnecting = False
        self._identity = self._folder.identity.load()
        self._keeper.follow(self._identity)
        self._change.done()
        self._trouble.helped()
        self._move(fresh.urls)
        self._fresh = True
        if self._link.is_connected:
            await self._renew()

    def _key_stays(self, error: NodeError) -> None:
        _log.warning("key_not_rotated", code=error.code, detail=str(error)[:200])
        self._change.failed(error)
        self.agent.core.undrain("rotation")
        self.agent.look()
        if isinstance(error, Removed):
            self.agent.end(error)

    async def _mend(self) -> None:
        action = self._trouble.action(self._loop.time())
        if action != "wait" and begun(self._folder.identity) and not self._change.refused:
            # The gateway may have taken the new key and cut the old one off.
            self._trouble.asked(self._loop.time())
            self._change.ask()
        elif action == "give_up":
            self.agent.end(removed(self._record))
        elif action == "ask":
            await self._ask()

    async def _ask(self) -> None:
        self._trouble.asked(self._loop.time())
        try:
            word, urls = await ask_gateway(
                self._record.gateway, self._tls, self._identity, self._record.node, self._keeper
            )
        except GatewayAway as error:
            _log.info("gateway_away", detail=str(error)[:200])
            return
        if word == "gone":
            self.agent.end(removed(self._record))
        elif word == "renewed":
            self._trouble.helped()
            self._move(urls)

    def _move(self, urls: Sequence[str]) -> None:
        """Dial where the network is now."""
        urls = own_urls() or urls
        if not urls or tuple(urls) == self._record.urls:
            return
        try:
            self._link.redirect(urls)
        except ValueError as error:
            _log.warning("bad_addresses", detail=str(error))
            return
        self._record = record_with(self._record, urls=tuple(urls))
        _log.info("network_moved", urls=list(urls))
        try:
            self._folder.save(self._record)
        except OSError as error:
            _log.warning("addresses_not_kept", detail=str(error))

    # --- the owner

    def _act(self, ask: Ask) -> Status:
        core = self.agent.core
        op = ask.op
        if op == "pause":
            self._folder.pause_at_once(ask.pause or Pause())
            self._guard.paused_or_resumed()
        elif op == "resume":
            self._folder.pause = None
            core.undrain("owner")
            self._guard.paused_or_resumed()
        elif op == "limits":
            self._guard.limits_changed()
        elif op == "drain":
            core.drain("owner", "drained by its owner")
        elif op == "rotate":
            self._change.ask()
            self._attention.set()
        elif op in ("stop", "restart"):
            self.restart_asked = op == "restart"
            self._stop_asked.set()
        self.agent.look()
        return self.status()

    def _changed(self) -> None:
        self._guard.life.look()
        core = self.agent.core
        names = tuple(offer.name for offer in core.offers)
        why = self._guard.reason
        if self._engine.state == "failed" and why == NOTHING:
            why = self._engine.smaller
        state = State(core.state, why.en or core.reason, names, why.sv)
        if state != self._told:
            self._told = state
            self._tell(state)
        refused = refusal_in(self.agent.notices)
        if refused != self._refused:
            self._refused = refused
            self._tell(Refused(refused))

    def status(self) -> Status:
        """Say how the agent is."""
        return agent_status(
            self._record,
            self.agent.core,
            speeds=self.agent.speeds,
            engine=self._engine,
            link=self._link,
            notices=tuple(self.agent.notices),
            started_at=self._started_at,
            jwt_ends_at=self._keeper.ends_at,
            public_key=self._identity.public_key,
            rotation=self._change.status,
            guard=self._guard.status(),
            trend=self._bench.trend if self._bench is not None else Trend(),
        )


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def free_memory() -> int:
    """Give the memory in bytes that programs may still use."""
    import psutil

    return int(psutil.virtual_memory().available)


__all__ = ["DRAIN_SECONDS", "NodeSession", "Tell"]
