"""The credit window: order and back-pressure of one attempt, one machine for each side.

Pure: no clock and no I/O. A sender may have at most `WINDOW` bytes of data under way that the
receiver has not taken; a receiver that takes nothing stops its own sender and nobody else's.
Loss, doubling and reordering are found, never repaired.
"""

from typing import Final

from garage_ai.wire.errors import Lost, OutOfTurn, Repeated, TooManyBytes, WindowOverrun
from garage_ai.wire.frames import MAX_DATA, UNNUMBERED, Data, Frame, Packet
from garage_ai.wire.ids import AttemptId

WINDOW: Final = 256 * 1024
CREDIT_EVERY: Final = WINDOW // 4
"""Bytes taken before a credit is worth a message; small answers never need one."""


class Sender:
    """Number what leaves, and say how much data may."""

    __slots__ = ("_attempt", "_limit", "_seq", "sent")

    def __init__(self, attempt: AttemptId, window: int = WINDOW) -> None:
        self._attempt = attempt
        self._limit = window
        self._seq = 0
        self.sent = 0

    @property
    def room(self) -> int:
        """Bytes of data that may leave now, in packets of at most `MAX_DATA`."""
        return self._limit - self.sent

    def pack(self, *frames: Frame) -> Packet:
        """Put frames into the next packet.

        Raises: WindowOverrun when they hold more data than there is room for.
        """
        size = sum(len(frame.body) for frame in frames if type(frame) is Data)
        if size > self.room or size > MAX_DATA:
            raise WindowOverrun(f"{size} bytes with room for {min(self.room, MAX_DATA)}")
        packet = Packet(self._attempt, self._seq, frames)
        self._seq += 1
        self.sent += size
        return packet

    def credited(self, consumed: int, window: int = WINDOW) -> None:
        """Take the receiver's word for how much it has taken in all.

        Raises: OutOfTurn when it claims more than was sent.
        """
        if consumed > self.sent:
            raise OutOfTurn(f"credit for {consumed} bytes of {self.sent} sent")
        self._limit = max(self._limit, consumed + window)


class Receiver:
    """Check the order and the amount of what arrives, and give credit for what is taken."""

    __slots__ = ("_credited", "_expected", "_max_bytes", "_window", "consumed", "received")

    def __init__(self, max_bytes: int, window: int = WINDOW) -> None:
        self._window = window
        self._max_bytes = max_bytes
        self._expected = 0
        self._credited = 0
        self.received = 0
        self.consumed = 0

    def accept(self, packet: Packet) -> tuple[Frame, ...]:
        """Let the next packet in and give its frames.

        Raises: Lost, Repeated, WindowOverrun, TooManyBytes, OutOfTurn; the attempt is over then.
        """
        if packet.seq != UNNUMBERED:
            self._check_order(packet.seq)
        for frame in packet.frames:
            if type(frame) is Data:
                self._count(len(frame.body), numbered=packet.seq != UNNUMBERED)
        return packet.frames

    def consume(self, size: int) -> int | None:
        """Count bytes as taken; give the credit to send, or None while it is not worth one.

        Raises: OutOfTurn when more is taken than came.
        """
        if self.consumed + size > self.received:
            raise OutOfTurn(f"taking {size} bytes of {self.received - self.consumed} there")
        self.consumed += size
        if self.consumed - self._credited < CREDIT_EVERY:
            return None
        return self.credit()

    def credit(self) -> int:
        """Give the credit as it stands, due or not; the sender may use it from now on."""
        self._credited = self.consumed
        return self.consumed

    def _check_order(self, seq: int) -> None:
        if seq > self._expected:
            raise Lost(f"packet {seq} came where {self._expected} was due")
        if seq < self._expected:
            raise Repeated(f"packet {seq} came where {self._expected} was due")
        self._expected += 1

    def _count(self, size: int, *, numbered: bool) -> None:
        if not numbered:
            raise OutOfTurn("data in a packet without a number")
        if size == 0:
            # It would be a sign of life, and work, that no bound counts.
            raise OutOfTurn("data that is empty")
        self.received += size
        if self.received - self._credited > self._window:
            raise WindowOverrun(f"{self.received - self._credited} bytes beyond the credit")
        if self.received > self._max_bytes:
            raise TooManyBytes(f"more than {self._max_bytes} bytes")
