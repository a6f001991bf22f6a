"""The agent: hears jobs, runs them on its engine, beats. The decisions are `core`'s."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from garage_ai.node.core import GREET_SECONDS, Core, Step
from garage_ai.node.engines.port import Engine
from garage_ai.node.errors import EngineError, NodeError, Superseded
from garage_ai.node.exchange import ALIVE_AFTER, Exchange
from garage_ai.node.heartbeat import beat_of
from garage_ai.node.pulse import Pulse
from garage_ai.node.pump import Pump
from garage_ai.node.speeds import Pace, Speeds
from garage_ai.node.status import NoticeStatus
from garage_ai.wire import messages, subjects
from garage_ai.wire.connection import Connection, Message, Subscription
from garage_ai.wire.errors import WireError
from garage_ai.wire.frames import Packet, decode, encode
from garage_ai.wire.ids import AttemptId, Digest, NodeId, new_session_id
from garage_ai.wire.link_errors import LinkError

_log = structlog.get_logger(__name__)

MAX_NOTICES: Final = 20
_FLUSH_SECONDS: Final = 2.0


class Agent:
    """One session of a node on one link. `ended` is resolved when it cannot go on."""

    def __init__(
        self,
        node: NodeId,
        region: str | None,
        *,
        engine: Engine,
        link: Connection,
        on_renewed: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
        free_memory: Callable[[], int] = lambda: 0,
        paused: bool = False,
    ) -> None:
        self.node = node
        self.core = Core(node, new_session_id(), paused=paused)
        self.notices: deque[NoticeStatus] = deque(maxlen=MAX_NOTICES)
        self._engine = engine
        self._link = link
        self._on_renewed = on_renewed
        self._on_change = on_change
        self._free_memory = free_memory
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[NodeError] = self._loop.create_future()
        self._beat_subject = subjects.beat(region, node)
        self._channels: dict[str, Callable[[bytes], None]] = {
            subjects.to_node(node, "job"): self._heard_job,
            subjects.to_node(node, "credit"): self._heard_credit,
            subjects.to_node(node, "cancel"): self._heard_cancel,
            subjects.to_node(node, "control"): self._heard_control,
        }
        self._pumps: dict[AttemptId, tuple[Pump, asyncio.Task[None]]] = {}
        self.speeds: dict[Digest, Speeds] = {}
        self._stops: dict[AttemptId, str] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._ticker: asyncio.TimerHandle | None = None
        self._greeter: asyncio.TimerHandle | None = None
        self._pulse = Pulse(random.SystemRandom().random)
        self._wake = asyncio.Event()
        self._seq = 0
        # Since the start: bytes given to the link, and tokens of answers that came to their end.
        self.sent = self.tokens = 0
        self._subscription: Subscription | None = None
        self._beater: asyncio.Task[None] | None = None
        self._stopped = False

    # --- life

    async def start(self) -> None:
        """Hear the node's subjects and begin to beat."""
        self._engine.on_change(self._engine_changed)
        self._engine_changed()
        self._subscription = await self._link.subscribe(
            subjects.all_to_node(self.node), self._heard
        )
        self._beater = asyncio.create_task(self._beat_for_ever(), name="beats")

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Take nothing new, finish within `grace` seconds or until `hurry`, say goodbye.

        Idempotent.
        """
        if self._stopped:
            return
        self._stopped = True
        self.core.drain("shutdown", "the agent is stopping")
        self.core.leaves_at = self._loop.time() + grace
        self.look()
        if self.core.running:
            await self._finish(grace, hurry)
        if self._beater is not None:
            self._beater.cancel()
        if self._subscription is not None:
            await self._subscription.close()
        for timer in (self._ticker, self._greeter):
            if timer is not None:
                timer.cancel()
        self._beat("gone")
        try:
            await self._link.flush(_FLUSH_SECONDS)
        except LinkError as error:
            _log.debug("goodbye_unsent", code=error.code)

    async def _finish(self, grace: float, hurry: asyncio.Event) -> None:
        waiting = {asyncio.ensure_future(each.wait()) for each in (self._idle, hurry)}
        await asyncio.wait(waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        self._do(self.core.stop_all("shutdown", self._loop.time()))
        tasks = [task for _, task in self._pumps.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=_FLUSH_SECONDS)

    def end(self, error: NodeError) -> None:
        """Say that the agent cannot go on."""
        if not self.ended.done():
            self.ended.set_result(error)

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self.core.running or self._pumps)

    async def wait_idle(self) -> None:
        """Wait until no request is under way."""
        await self._idle.wait()

    def give_back(self) -> None:
        """Stop all that runs and say that it was yielded: another node may go on with it."""
        self._do(self.core.stop_all("yielded", self._loop.time()))

    def look(self) -> None:
        """Beat at once if there is something to tell; to be called after any change of state."""
        if self._pulse.look(self.core.face):
            self._wake.set()
            self._on_change()

    def connected(self) -> None:
        """Beat at once: the link is up, perhaps to another server."""
        self._pulse.look(object())
        self._wake.set()

    def disconnected(self) -> None:
        """Let go of all that runs: what was on its way is lost, and gateways take a gap for it."""
        for _, task in list(self._pumps.values()):
            task.cancel()
        for exchange in list(self.core.running.values()):
            self.core.failed(exchange, "link_lost", "", self._loop.time())
        self._settle()

    # --- what is heard

    def _heard(self, message: Message) -> None:
        heard = self._channels.get(message.subject)
        if heard is None:
            return
        try:
            heard(message.payload)
        except WireError as error:
            _log.warning("bad_packet", subject=message.subject, detail=str(error)[:200])

    def _heard_job(self, payload: bytes) -> None:
        self._do(self.core.job(decode(payload), self._loop.time()))
        if self._greeter is None and self.core.greets:
            self._greeter = self._loop.call_later(GREET_SECONDS, self._greet)

    def _greet(self) -> None:
        self._greeter = None
        self._do(self.core.greet(self._loop.time()))

    def _heard_credit(self, payload: bytes) -> None:
        exchange, step = self.core.credit(decode(payload), self._loop.time())
        self._do(step)
        known = self._pumps.get(exchange.id) if exchange is not None else None
        if known is not None:
            known[0].credited()

    def _heard_cancel(self, payload: bytes) -> None:
        self._do(self.core.cancel(decode(payload), self._loop.time()))

    def _heard_control(self, payload: bytes) -> None:
        control = messages.decode_control(payload)
        match control:
            case messages.Drain(reason):
                self.core.drain("network", reason or "drained by the network")
            case messages.Undrain():
                self.core.undrain("network")
            case messages.BeatNow(within):
                self._pulse.hasten(self._loop.time(), within)
                self._wake.set()
            case messages.Superseded(session):
                self._superseded(session)
            case messages.Renewed(jwt):
                self._on_renewed(jwt)
            case messages.Notice(code, words):
                self._notice(code, words)
            case messages.Dedicate():
                self.core.dedicate(control, self._loop.time())
            case messages.Undedicate(job):
                self.core.dedication.end(job, self._loop.time())
            case None:
                _log.info("control_unknown")
        self.look()

    def _superseded(self, session: str) -> None:
        if session == self.core.session:
            self.end(
                Superseded(
                    "This node's identity is in use elsewhere, and the newer one has taken over. "
                    "Stop one of the two; each PC enrols on its own."
                )
            )

    def _notice(self, code: str, words: str) -> None:
        _log.warning("notice", code=code, message=words)
        self.notices.append(NoticeStatus(code, words, time.time()))
        self._on_change()

    def _engine_changed(self) -> None:
        engine = self._engine
        self.core.engine_is(engine.state, engine.reason, engine.offers)
        self.look()

    # --- what is done

    def send(self, subject: str, packet: Packet) -> None:
        """Send a packet without waiting. Raises: LinkError."""
        payload = encode(packet)
        self._link.publish(subject, payload)
        self.sent += len(payload)

    async def relief(self) -> None:
        """Wait while far too much waits to be sent: a slow line makes answers slow, not lost."""
        await self._link.relief()

    def _do(self, step: Step) -> None:
        for subject, packet in step.send:
            self._try_send(subject, packet)
        for exchange, code in step.stop:
            self._stop(exchange, code)
        if step.run is not None:
            self._run(step.run)
        if step.ignored:
            _log.warning("packet_ignored", reason=step.ignored)
        self._settle()

    def _try_send(self, subject: str, packet: Packet) -> None:
        try:
            self.send(subject, packet)
        except LinkError as error:
            # The gateway finds the gap, or hears nothing at all; either way it gives up on us.
            _log.debug("packet_unsent", code=error.code)

    def _run(self, exchange: Exchange) -> None:
        pump = Pump(
            exchange,
            self._engine,
            self,
            said=self.core.answered,
            paced=self._paced,
            clock=self._loop.time,
        )
        task = self._loop.create_task(pump.run(), name=exchange.id)
        self._pumps[exchange.id] = (pump, task)
        task.add_done_callback(partial(self._ended, exchange))

    def _paced(self, exchange: Exchange, pace: Pace) -> None:
        self.speeds.setdefault(exchange.offer.digest, Speeds()).take(pace)
        self.tokens += pace.tokens

    def _stop(self, exchange: Exchange, code: str) -> None:
        known = self._pumps.get(exchange.id)
        if known is not None:
            self._stops[exchange.id] = code
            known[1].cancel()

    def _ended(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Take note that a pump is done; its connection to the engine is let go of by now."""
        self._pumps.pop(exchange.id, None)
        code = self._stops.pop(exchange.id, "cancelled")
        if task.cancelled():
            self._fail(exchange, code, "")
        else:
            error = task.exception()
            if error is not None:
                self._broke(exchange, error)
        self._settle()

    def _broke(self, exchange: Exchange, error: BaseException) -> None:
        if isinstance(error, EngineError):
            _log.warning("attempt_failed", attempt=exchange.id, code=error.code, detail=str(error))
            self._fail(exchange, error.code, str(error))
        elif isinstance(error, LinkError | WireError):
            _log.warning("attempt_unsent", attempt=exchange.id, code=error.code)
            self._fail(exchange, error.code, "")
        else:
            _log.error("attempt_broke", attempt=exchange.id, exc_info=error)
            self._fail(exchange, "engine_protocol", "the agent failed")

    def _fail(self, exchange: Exchange, code: str, words: str) -> None:
        for subject, packet in self.core.failed(exchange, code, words, self._loop.time()).send:
            self._try_send(subject, packet)

    def _settle(self) -> None:
        """Keep ticker, idleness and beat in step with what runs."""
        if self.core.running or self._pumps:
            self._idle.clear()
            if self._ticker is None:
                self._ticker = self._loop.call_later(ALIVE_AFTER, self._tick)
        else:
            self._idle.set()
        self.look()

    def _tick(self) -> None:
        self._ticker = None
        self._do(self.core.tick(self._loop.time()))

    # --- beats

    async def _beat_for_ever(self) -> None:
        while True:
            wait = self._pulse.wait(self._loop.time())
            if wait > 0:
                await self._nap(wait)
                continue
            self._pulse.beaten(self._loop.time())
            try:
                self._beat(self.core.state)
            except Exception:  # a node that beats no more is gone to all, and nobody would know why
                _log.exception("beat_failed")

    async def _nap(self, seconds: float) -> None:
        """Wait, but no longer than until something has changed."""
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
                # What changed is told a tenth of a second after the last beat at the earliest.
                await asyncio.sleep(self._pulse.wait(self._loop.time()))
        except TimeoutError:
            return

    def _beat(self, state: messages.AgentState) -> None:
        self._seq += 1
        beat = beat_of(
            self.core,
            self._engine,
            self.speeds,
            seq=self._seq,
            state=state,
            now=self._loop.time(),
            free_memory=self._free_memory(),
        )
        try:
            payload = messages.encode_message(beat)
            self._link.publish(self._beat_subject, payload)
            self.sent += len(payload)
        except LinkError as error:
            _log.debug("beat_unsent", code=error.code)


__all__ = ["Agent"]
