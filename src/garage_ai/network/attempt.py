"""One attempt: one request on one node, from the job to its last frame. Pure.

    sent ─Accepted→ accepted ─Head 2xx→ answering ─End→ over
     │ Refused, limit   │ Head ≥ 400 → complaining ─End→ over
     └──────────────────┴── Fail, bad frame, silence → over

Time is given by the caller in seconds. What the attempt asks for comes back as a `Step`; it never
raises for anything a node may say.
"""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from garage_ai.network.complaint import complaint
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.replies import EngineErrorEvent, EventTooLarge, Reader
from garage_ai.wire.errors import TooManyBytes, WireError
from garage_ai.wire.frames import (
    MAX_DATA,
    Accepted,
    Alive,
    Credit,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Leaving,
    Open,
    Packet,
    Priority,
    Refused,
)
from garage_ai.wire.ids import AttemptId, NodeId
from garage_ai.wire.window import Receiver, Sender

MAX_COMPLAINT: Final = 64 * 1024
LINK_LOST: Final = "link_lost"
"""A loss that is the gateway's own and says nothing about the node."""
LEAVING: Final = "leaving"
"""A part's end that was planned: another node has gone on already."""
REPLACED: Final = "session_replaced"
"""A loss of what a node's process before the present one was doing."""
TOO_LARGE: Final = TooManyBytes.code
"""A rejection that is the gateway's own: some requests have larger answers than it takes."""
OUT_OF_TIME: Final = "total"
"""A time-out of the whole request: no other node has more time for it."""

Phase = Literal["sent", "accepted", "answering", "complaining", "over"]

VerdictKind = Literal[
    "answered",  # the whole answer came
    "busy",  # refused for want of a slot: no failure
    "away",  # refused: draining, paused, loading, another session
    "rejected",  # the engine said 4xx: the request's own fault
    "unwilling",  # the engine said 401, 403 or 429: another node may do
    "engine_failed",  # the engine said 5xx or died
    "yielded",  # the owner took the PC back: no failure
    "preempted",  # it has time, and a chat got its slot: no failure
    "bad_reply",  # the node broke the protocol
    "lost",  # silence, a gap, or nobody there
    "timeout",  # it works, but too slowly
    "cancelled",
]


class Verdict(msgspec.Struct, frozen=True):
    """How an attempt ended: `message` may be shown to the client; `code` is stable and for logs."""

    kind: VerdictKind
    message: str = ""
    code: str = ""
    retry_after: float = 0.0


_GAVE_WAY: Final = Verdict("preempted", "a chat got its slot", "preempted")
_TOO_LONG: Final = Verdict("timeout", "the answer took too long", OUT_OF_TIME)


class Step(msgspec.Struct):
    """What is to be done after an event: packets out, bytes for the client, the end."""

    send: list[Packet] = []
    deliver: list[tuple[bytes, int]] = []
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds an attempt may take for each part."""

    accepted: float
    first_byte: float
    silence: float
    total: float


class Attempt:
    """One try of a request on a node.

    `ended_by_node` tells that the node itself said the last word: it works on this no more.
    `leaving` tells that it has said it will soon be stopped; who heeds it takes it back.
    `priority` tells whether it gives way to others.
    `begun`, `last_frame` and `last_data` are the moments of its start, of its newest frame and of
    its newest piece of an answer.
    """

    def __init__(
        self,
        attempt_id: AttemptId,
        node: NodeId,
        *,
        body: bytes,
        reader: Reader,
        limits: Limits,
        max_answer: int,
        now: float,
        priority: Priority = "chat",
    ) -> None:
        self.id = attempt_id
        self.node = node
        self.priority: Priority = priority
        self.reader = reader
        self.phase: Phase = "sent"
        self.ended_by_node = False
        self.leaving = False
        self._body = memoryview(body)
        self._limits = limits
        self._sender = Sender(attempt_id)
        self._receiver = Receiver(max_answer)
        self._complaint = bytearray()
        self._status = 0
        self.begun = now
        self.last_frame = self.last_data = now
        self._ended_upload = False

    def start(self, opening: Open) -> Step:
        """Give the job: the opening and as much of the body as may leave at once."""
        first = self._body[:MAX_DATA]
        frames: list[Frame] = [opening]
        if first:
            frames.append(Data(bytes(first)))
        if len(first) == len(self._body):
            frames.append(End())
            self._ended_upload = True
        return Step(send=[self._sender.pack(*frames), *self._upload()])

    def received(self, packet: Packet, now: float) -> Step:
        """Take a packet of the node."""
        if self.phase == "over":
            return Step()
        self.last_frame = now
        step = Step()
        try:
            for frame in self._receiver.accept(packet):
                self._take(frame, step)
                if step.verdict is not None:
                    break
        except (WireError, BadNodeReply) as error:
            self._over(step, self._broken(error))
        except EngineErrorEvent as error:
            self._over(step, Verdict("engine_failed", str(error), "engine_error"))
        return step

    def malformed(self) -> Step:
        """Take a payload that is no packet."""
        return self._ended(Verdict("bad_reply", "the node sent what cannot be read", "malformed"))

    def unreachable(self) -> Step:
        """Take the server's word that nobody hears the node's subject."""
        return self._ended(Verdict("lost", "the node is not connected", "no_responders"))

    def abandoned(self) -> Step:
        """End the attempt because the gateway lost its own link."""
        return self._ended(Verdict("lost", "the gateway lost its link", LINK_LOST))

    def replaced(self) -> Step:
        """End the attempt because its node is another process by now."""
        return self._ended(Verdict("lost", "the node began anew", REPLACED))

    def cancel(self) -> Step:
        """End the attempt because the client no longer wants it."""
        return self._ended(Verdict("cancelled"))

    def credit(self) -> int:
        """Give the credit for what the client has taken, due or not."""
        return self._receiver.credit()

    def taken(self, size: int) -> int | None:
        """Count data as taken by the client; give the credit to send, if it is due."""
        return self._receiver.consume(size)

    @property
    def due(self) -> float:
        """When the next limit falls, if nothing comes before."""
        return min(
            self.last_frame + self._limits.silence,
            self.ends_at,
            self._phase_limit(),
        )

    @property
    def ends_at(self) -> float:
        """When the time for all of it is over."""
        return self.begun + self._limits.total

    def late(self, now: float) -> Step:
        """Take the time; ends the attempt when a limit was passed."""
        step = Step()
        if self.phase == "over" or now < self.due:
            return step
        if now >= self.ends_at:
            self._over(step, _TOO_LONG)
        elif self.phase == "sent" or now >= self.last_frame + self._limits.silence:
            self._over(step, Verdict("lost", "the node is silent", "silence"))
        else:
            self._over(step, Verdict("timeout", "the first token took too long", "first_byte"))
        return step

    def _phase_limit(self) -> float:
        if self.phase == "sent":
            return self.begun + self._limits.accepted
        # A plain answer comes whole: when its first token was made is not seen from here.
        if self.reader.has_content or not self.reader.gives_early:
            return float("inf")
        return self.begun + self._limits.first_byte

    def _ended(self, verdict: Verdict) -> Step:
        step = Step()
        if self.phase != "over":
            self._over(step, verdict)
        return step

    def _over(self, step: Step, verdict: Verdict) -> None:
        self.phase = "over"
        self._body = memoryview(b"")
        step.verdict = verdict

    def _broken(self, error: WireError | BadNodeReply) -> Verdict:
        if isinstance(error, TooManyBytes | EventTooLarge) and not self.reader.has_content:
            # As large as what was asked for: thousands of vectors, a long prompt's probabilities.
            words = f"the answer has {error}: ask for less at a time"
            return Verdict("rejected", words, TOO_LARGE)
        if isinstance(error, BadNodeReply):
            return Verdict("bad_reply", error.message, error.code)
        kind: VerdictKind = "lost" if error.code.startswith("frame_") else "bad_reply"
        return Verdict(kind, "the node broke the protocol", error.code)

    def _upload(self) -> list[Packet]:
        packets = []
        while not self._ended_upload:
            start = self._sender.sent
            part = self._body[start : start + min(MAX_DATA, self._sender.room)]
            last = start + len(part) == len(self._body)
            if not part and not last:
                break
            frames: tuple[Frame, ...] = (Data(bytes(part)), End()) if last else (Data(bytes(part)),)
            packets.append(self._sender.pack(*frames))
            self._ended_upload = last
        return packets

    def _take(self, frame: Frame, step: Step) -> None:
        # By exact type: what a class pattern asks of a struct takes longer than all that is done.
        if type(frame) is Data:
            self._data(frame.body, step)
        elif type(frame) is Accepted and self.phase == "sent":
            self.phase = "accepted"
        elif type(frame) is Head and self.phase == "accepted":
            self._status = frame.status
            self.phase = "answering" if 200 <= frame.status < 300 else "complaining"
        elif type(frame) is End and self.phase in ("answering", "complaining"):
            self.ended_by_node = True
            self._end(step)
        elif type(frame) is Leaving:
            # What was not begun needs no one to go on with it.
            self.leaving = self.reader.gives_early and self.reader.has_content
        elif type(frame) is Credit:
            self._sender.credited(frame.consumed)
            step.send.extend(self._upload())
        elif type(frame) is Refused and self.phase == "sent":
            self.ended_by_node = True
            self._over(step, _refused(frame))
        elif type(frame) is Fail and self.phase != "sent":
            self.ended_by_node = True
            self._over(step, self._failed(frame))
        elif type(frame) is not Alive:
            name = type(frame).__name__
            self._over(step, Verdict("bad_reply", "the node spoke out of turn", name))

    def _failed(self, frame: Fail) -> Verdict:
        # A chat gives way to nobody: there it is one more word for a failure.
        if frame.code == "preempted" and self.priority == "batch":
            return _GAVE_WAY
        # The node keeps the same time, and may be the first to see that it is over.
        if frame.code == "engine_timeout" and self.last_frame >= self.ends_at:
            return _TOO_LONG
        return _failed(frame)

    def _data(self, body: bytes, step: Step) -> None:
        if self.phase == "answering":
            try:
                out = self.reader.feed(body)
            except (BadNodeReply, EngineErrorEvent):
                step.deliver.append((self.reader.salvaged, len(body)))
                raise
            step.deliver.append((out, len(body)))
            self.last_data = self.last_frame
            if self.reader.whole:
                self._end(step)
        elif self.phase == "complaining":
            self._complaint += body
            step.deliver.append((b"", len(body)))
            if len(self._complaint) > MAX_COMPLAINT:
                self._over(step, self._judge_complaint())
        else:
            self._over(step, Verdict("bad_reply", "the node spoke out of turn", "Data"))

    def _end(self, step: Step) -> None:
        if self.phase == "complaining":
            self._over(step, self._judge_complaint())
            return
        step.deliver.append((self.reader.finish(), 0))
        self._over(step, Verdict("answered"))

    def _judge_complaint(self) -> Verdict:
        status = self._status
        said = complaint(bytes(self._complaint))
        if status in (401, 403, 429):
            return Verdict("unwilling", "the engine refused the node", f"engine_{status}")
        if 400 <= status < 500:
            code = "context_length_exceeded" if said.kind == "context" else "engine_rejected"
            return Verdict("rejected", said.message, code)
        return Verdict("engine_failed", said.message, f"engine_{status}")


def _refused(frame: Refused) -> Verdict:
    kind: VerdictKind = "busy" if frame.code == "busy" else "away"
    return Verdict(kind, frame.message, frame.code, frame.retry_after)


def _failed(frame: Fail) -> Verdict:
    if frame.code in ("yielded", "shutdown"):
        return Verdict("yielded", "the node's owner took it back", frame.code)
    if frame.code == "unknown_model":
        return Verdict("away", "the node's engine no longer has the model", frame.code)
    if frame.code == "gateway_silent":
        return Verdict("lost", "the gateway did not keep up with the node", LINK_LOST)
    if frame.code == "engine_timeout":
        return Verdict("timeout", "the engine took too long", frame.code)
    # `cancelled` too: what was cancelled here is over, so here nobody has asked for that.
    return Verdict("engine_failed", "the engine failed", frame.code)


__all__ = [
    "LEAVING",
    "LINK_LOST",
    "MAX_COMPLAINT",
    "OUT_OF_TIME",
    "REPLACED",
    "TOO_LARGE",
    "Attempt",
    "Limits",
    "Phase",
    "Step",
    "Verdict",
    "VerdictKind",
]
