"""The gateway's side of the wire, as far as a node sees it: jobs out, packets in."""

import asyncio
from collections.abc import Callable
from typing import TypedDict, Unpack

from garage_ai.wire import subjects
from garage_ai.wire.connection import Connection, Message
from garage_ai.wire.frames import (
    MAX_DATA,
    Accepted,
    Credit,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Open,
    Packet,
    Refused,
    cancel_packet,
    credit_packet,
    decode,
    encode,
)
from garage_ai.wire.ids import AttemptId, GatewayId, NodeId, new_gateway_id
from garage_ai.wire.messages import Beat, Control, decode_beat, encode_message
from garage_ai.wire.window import WINDOW, Receiver, Sender

PATIENCE = 20.0
LOOK_EVERY = 0.01
MAX_ANSWER = 64_000_000


async def until(met: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Look again and again until a condition is met."""
    async with asyncio.timeout(seconds):
        while True:
            if met():
                return
            await asyncio.sleep(LOOK_EVERY)


class Job(TypedDict, total=False):
    """What may be other than usual about a job."""

    session: str
    digest: str
    route: str
    stream: bool
    version: int
    time_limit: float
    salt: str
    job: str


class Call:
    """One attempt: what came back, in order; credit is given as it is taken."""

    def __init__(self, caller: "Caller", attempt: AttemptId, *, greedy: bool) -> None:
        self.id = attempt
        self.packets: list[Packet] = []
        self.frames: list[Frame] = []
        self.arrived: list[float] = []
        self.greedy = greedy
        self._caller = caller
        self._receiver = Receiver(MAX_ANSWER)
        self._changed = asyncio.Event()

    def heard(self, packet: Packet) -> None:
        """Take a packet; a broken order fails the test that waits."""
        self.packets.append(packet)
        self.arrived.append(asyncio.get_running_loop().time())
        for frame in self._receiver.accept(packet):
            self.frames.append(frame)
            if isinstance(frame, Data) and self.greedy:
                self.take(len(frame.body))
        self._changed.set()

    def take(self, size: int) -> None:
        """Take bytes of the answer, and give credit when it is due."""
        credit = self._receiver.consume(size)
        if credit is not None:
            self._caller.tell("credit", credit_packet(self.id, credit))

    @property
    def unread(self) -> int:
        """Bytes that came and were not taken."""
        return self._receiver.received - self._receiver.consumed

    def cancel(self) -> None:
        """Ask the node to stop."""
        self._caller.tell("cancel", cancel_packet(self.id, "test"))

    async def until(self, met: Callable[["Call"], bool], seconds: float = PATIENCE) -> "Call":
        """Wait until a condition is met."""
        async with asyncio.timeout(seconds):
            while not met(self):
                self._changed.clear()
                await self._changed.wait()
        return self

    async def over(self, seconds: float = PATIENCE) -> "Call":
        """Wait for the last frame."""
        return await self.until(lambda call: call.last is not None, seconds)

    @property
    def last(self) -> End | Fail | Refused | None:
        """The frame that ended it, if it has ended."""
        last = self.frames[-1] if self.frames else None
        return last if isinstance(last, End | Fail | Refused) else None

    @property
    def accepted(self) -> bool:
        """Whether the node took it."""
        return any(isinstance(frame, Accepted) for frame in self.frames)

    @property
    def head(self) -> Head | None:
        """The head of the engine's answer, if it came."""
        return next((frame for frame in self.frames if isinstance(frame, Head)), None)

    @property
    def credit(self) -> int:
        """How much of the request's body the node says it has taken."""
        return max(
            (frame.consumed for frame in self.frames if isinstance(frame, Credit)), default=0
        )

    @property
    def body(self) -> bytes:
        """The bytes of the answer so far."""
        return b"".join(frame.body for frame in self.frames if isinstance(frame, Data))


class Caller:
    """A gateway that knows one node."""

    def __init__(self, node: NodeId) -> None:
        self.gateway: GatewayId = new_gateway_id()
        self.node = node
        self._link: Connection | None = None
        self.beats: list[Beat] = []
        self._calls: dict[AttemptId, Call] = {}
        self._senders: dict[AttemptId, Sender] = {}
        self._beaten = asyncio.Event()

    async def start(self, link: Connection) -> None:
        """Hear answers and beats on a link of this gateway's."""
        self._link = link
        await link.subscribe(subjects.replies_to(self.gateway), self._heard)
        await link.subscribe(subjects.ALL_BEATS, self._heard_beat)
        await link.flush()

    def call(self, attempt: str, body: bytes, *, greedy: bool = True, **job: Unpack[Job]) -> Call:
        """Send a job whose body fits into one packet."""
        return self._send(attempt, len(body), (Data(body), End()), job, greedy=greedy)

    def open(self, attempt: str, size: int, **job: Unpack[Job]) -> Call:
        """Send the opening of a job whose body comes later."""
        return self._send(attempt, size, (), job, greedy=True)

    def _send(
        self, attempt: str, size: int, body: tuple[Frame, ...], job: Job, *, greedy: bool
    ) -> Call:
        attempt_id = AttemptId(attempt)
        beat = self.beats[-1] if self.beats else None
        opening = Open(
            job.get("version", 1),
            job.get("session", beat.session if beat else ""),
            subjects.reply(self.gateway, self.node, attempt_id),
            job.get("route", "chat"),
            job.get("digest", beat.models[0].digest if beat and beat.models else ""),
            job.get("stream", False),
            size,
            job.get("time_limit", 60.0),
            job.get("salt", ""),
            job=job.get("job", ""),
        )
        call = self._calls[attempt_id] = Call(self, attempt_id, greedy=greedy)
        sender = self._senders[attempt_id] = Sender(attempt_id)
        self.tell("job", sender.pack(opening, *body))
        return call

    async def upload(self, call: Call, body: bytes) -> None:
        """Send the body of a job that was only opened, as credit allows."""
        sender = self._senders[call.id]
        for start in range(0, len(body), MAX_DATA):
            part = body[start : start + MAX_DATA]
            while sender.room < len(part):
                known = sender.sent + sender.room - WINDOW
                await call.until(lambda call, known=known: call.credit > known)  # type: ignore[misc]
                sender.credited(call.credit)
            end = (End(),) if start + len(part) == len(body) else ()
            self.tell("job", sender.pack(Data(part), *end))

    def tell(self, channel: subjects.NodeChannel, packet: Packet) -> None:
        """Send a packet to the node."""
        self.raw(channel, encode(packet))

    def raw(self, channel: subjects.NodeChannel, payload: bytes) -> None:
        """Send any bytes to the node."""
        assert self._link is not None
        self._link.publish(subjects.to_node(self.node, channel), payload)

    def control(self, message: Control) -> None:
        """Send a control message to the node."""
        self.raw("control", encode_message(message))

    async def beat(self, met: Callable[[Beat], bool], seconds: float = PATIENCE) -> Beat:
        """Wait for a beat of some kind, the last one included."""
        async with asyncio.timeout(seconds):
            while not (self.beats and met(self.beats[-1])):
                self._beaten.clear()
                await self._beaten.wait()
        return self.beats[-1]

    async def ready(self, seconds: float = 60.0) -> Beat:
        """Wait until the node serves a model."""
        return await self.beat(
            lambda beat: (
                beat.state == "ready" and bool(beat.models) and beat.models[0].engine == "ready"
            ),
            seconds,
        )

    def _heard(self, message: Message) -> None:
        _, attempt = subjects.parse_reply(message.subject)
        call = self._calls.get(attempt)
        if call is not None:
            call.heard(decode(message.payload))

    def _heard_beat(self, message: Message) -> None:
        _, node = subjects.parse_beat(message.subject)
        if node == self.node:
            self.beats.append(decode_beat(message.payload))
            self._beaten.set()
