"""One attempt as the node sees it: a request coming in, an answer going out. Pure.

    receiving ─End→ running ─all said→ over
        └───────────────┴── cancel, broken order, time limit, engine lost: Fail → over

`greeted` tells whether the gateway knows that the attempt holds a slot.
`blocked` is set while the gateway gives no credit for more of the answer.
`born` is when a batch request was first begun, here or elsewhere; None for one that cannot wait.

Time comes from the caller, in seconds.
"""

from typing import Final, Literal

from garage_ai.node.engines.port import Offer
from garage_ai.wire.errors import OutOfTurn, TooManyBytes
from garage_ai.wire.frames import (
    MAX_DATA,
    Accepted,
    Alive,
    Credit,
    Data,
    End,
    Fail,
    Frame,
    Leaving,
    Open,
    Packet,
    Priority,
    Route,
)
from garage_ai.wire.ids import AttemptId
from garage_ai.wire.window import Receiver, Sender

ALIVE_AFTER: Final = 0.5
"""Silence towards the gateway after which the ticker, twice a second, says `Alive`."""

MAX_BODY: Final = 64 * 1024 * 1024
"""Largest request body in bytes; gateways allow less."""

Phase = Literal["receiving", "running", "over"]


class Exchange:
    """The state of one attempt on this node."""

    __slots__ = (
        "_parts",
        "_receiver",
        "_sender",
        "blocked",
        "born",
        "deadline",
        "greeted",
        "id",
        "last_gateway",
        "last_heard",
        "last_sent",
        "offer",
        "phase",
        "reply",
        "route",
        "salt",
        "size",
        "stream",
    )

    def __init__(
        self, attempt: AttemptId, opening: Open, route: Route, offer: Offer, now: float
    ) -> None:
        self.id = attempt
        self.reply = opening.reply
        self.route = route
        self.offer = offer
        self.stream = opening.stream
        self.salt = opening.salt
        self.born = None if opening.batch_age is None else now - opening.batch_age
        self.size = opening.content_length
        self.phase: Phase = "receiving"
        self.deadline = now + opening.time_limit
        self.last_sent = now
        self.last_heard = now
        self.last_gateway = now
        self.blocked = False
        self.greeted = False
        self._parts: list[bytes] = []
        self._sender = Sender(attempt)
        self._receiver = Receiver(min(opening.content_length, MAX_BODY))

    @property
    def priority(self) -> Priority:
        """Whether somebody waits for the answer."""
        return "chat" if self.born is None else "batch"

    @property
    def body(self) -> bytes:
        """The request's body; whole once the exchange runs."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    @property
    def room(self) -> int:
        """Bytes of data that may leave in the next packet."""
        return min(self._sender.room, MAX_DATA)

    @property
    def hears_engine(self) -> bool:
        """Whether the next thing to come is a piece of the engine's stream, and due.

        The first of a batch answer is not: a card with much to do has all the time for its prompt.
        """
        is_due = self.priority == "chat" or self._sender.sent > 0
        return self.phase == "running" and self.stream and not self.blocked and is_due

    def take(self, packet: Packet, now: float) -> Frame | None:
        """Take a packet of the request; give the credit to send, if one is due.

        The phase is `running` once the body is whole. Raises: WireError; the exchange is over then.
        """
        self.last_heard = self.last_gateway = now
        credit: int | None = None
        for frame in self._receiver.accept(packet):
            match frame:
                case Data(body):
                    if self.phase != "receiving":
                        raise OutOfTurn("data after the end of the body")
                    self._parts.append(body)
                    credit = self._receiver.consume(len(body)) or credit
                case End():
                    self._end_body()
                case Open() if packet.seq == 0:
                    pass
                case _:
                    raise OutOfTurn(f"{type(frame).__name__} in a job")
        return None if credit is None or self.phase == "running" else Credit(credit)

    def _end_body(self) -> None:
        if self.phase != "receiving":
            raise OutOfTurn("two ends of one body")
        if self._receiver.received != self.size:
            raise TooManyBytes(
                f"a body of {self._receiver.received} bytes where {self.size} were said"
            )
        self.phase = "running"

    def credited(self, consumed: int) -> None:
        """Take the gateway's word for how much of the answer it has taken. Raises: OutOfTurn."""
        self._sender.credited(consumed)

    def pack(self, now: float, *frames: Frame) -> Packet:
        """Put frames into the next packet of the answer; the first one begins with Accepted.

        Raises: WindowOverrun.
        """
        self.last_sent = now
        if not self.greeted:
            self.greeted = True
            return self._sender.pack(Accepted(), *frames)
        return self._sender.pack(*frames)

    def alive(self, now: float) -> Packet | None:
        """Give the sign of life that is due, if one is."""
        if self.phase == "over" or now - self.last_sent < ALIVE_AFTER:
            return None
        return self.pack(now, Alive())

    def leaving(self, now: float) -> Packet | None:
        """Say that this will soon be stopped; None where another could not go on with it."""
        if self.phase != "running" or not self.stream:
            return None
        return self.pack(now, Leaving())

    def fail(self, now: float, code: str, message: str = "") -> Packet | None:
        """End without a whole answer; None if it had ended already."""
        if self.phase == "over":
            return None
        self.phase = "over"
        self._parts.clear()
        return self.pack(now, Fail(code[:128], message[:500]))

    def end(self) -> None:
        """Note that all was said."""
        self.phase = "over"

    def forget_body(self) -> None:
        """Let go of the request's body; it is with the engine."""
        self._parts.clear()


__all__ = ["ALIVE_AFTER", "MAX_BODY", "Exchange", "Phase"]
