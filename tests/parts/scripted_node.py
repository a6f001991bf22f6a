"""A node on the real wire that answers as the test says: well, badly or not at all."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from garage_ai.network.authority import Authority, UserCredentials
from garage_ai.wire import subjects
from garage_ai.wire.connection import Connection, connect
from garage_ai.wire.frames import (
    UNNUMBERED,
    Accepted,
    Cancel,
    Credit,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Open,
    Packet,
    decode,
    encode,
)
from garage_ai.wire.ids import AttemptId, NodeId, SessionId
from garage_ai.wire.messages import (
    Beat,
    Control,
    EngineImage,
    ModelServed,
    decode_control,
    encode_message,
)
from garage_ai.wire.nkey import KeyPair, Role
from garage_ai.wire.session import Message
from garage_ai.wire.window import Receiver, Sender


def event(text: str, **fields: object) -> bytes:
    """Write a chat event with a little text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + msgspec.json.encode({"id": "c", "choices": [choice], **fields}) + b"\n\n"


ROLE = b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
STOP = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
PLAIN = (
    b'{"choices":[{"message":{"content":"hej"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
)


@dataclass
class Job:
    """One attempt as the node sees it."""

    node: "ScriptedNode"
    opening: Open
    sender: Sender
    receiver: Receiver
    body: bytearray = field(default_factory=bytearray)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    credited: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """The attempt's id, as the reply subject tells it."""
        return self.opening.reply.rsplit(".", 1)[1]

    def say(self, *frames: Frame) -> None:
        """Send the next packet."""
        self.send(self.sender.pack(*frames))

    def send(self, packet: Packet) -> None:
        """Send a packet that may have any number."""
        self.send_raw(encode(packet))

    def send_raw(self, payload: bytes) -> None:
        """Send any bytes at all."""
        self.node.link.publish(self.opening.reply, payload)

    def begin_stream(self) -> None:
        """Accept and give the head of a stream."""
        self.say(Accepted())
        self.say(Head(200, "text/event-stream"))


Script = Callable[[Job], Awaitable[None]]


async def answer_plainly(job: Job) -> None:
    """Give a small whole answer, as the request wants it."""
    job.say(Accepted())
    await job.arrived.wait()
    if job.opening.stream:
        job.say(Head(200, "text/event-stream"), Data(ROLE + event("hej") + STOP + DONE), End())
    else:
        job.say(Head(200, "application/json"), Data(PLAIN), End())


BUILT = EngineImage("sha256:" + "1" * 64, "sha256:" + "2" * 64)


class ScriptedNode:
    """A node that beats when told and answers each job with the next script, or the last."""

    def __init__(self, link: Connection, node: NodeId, model: ModelServed) -> None:
        self.link = link
        self.id = node
        self.model = model
        self.sandbox = "podman"
        self.share = "all"
        self.gang = b""
        self.dedicates = False
        self.agent = "0.1.0"
        self.image: EngineImage | None = BUILT
        self.session = SessionId(f"s{time.monotonic_ns()}")
        self.scripts: list[Script] = [answer_plainly]
        self.jobs: list[Job] = []
        self.controls: list[Control | None] = []
        self._by_attempt: dict[AttemptId, Job] = {}
        self._seq = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def join(
        cls, url: str, authority: Authority, node: NodeId, model: ModelServed
    ) -> "ScriptedNode":
        """Connect with a JWT of the network and hear the node's subjects."""
        credentials = UserCredentials(
            KeyPair.generate(Role.USER), lambda key: authority.node_jwt(node, key, None)
        )
        link = await connect([url], credentials=credentials, name=node, give_up_after=20)
        scripted = cls(link, node, model)
        await link.subscribe(subjects.all_to_node(node), scripted._heard)
        return scripted

    async def beat(self, state: str = "ready", *, job: str = "", **fields: object) -> None:
        """Send a heartbeat and wait until the server has it."""
        model = msgspec.structs.replace(self.model, **fields)
        beat = Beat(
            self.session,
            self._seq,
            time.time(),
            state,
            (model,),
            sandbox=self.sandbox,
            limits=True,
            share=self.share,
            gang=self.gang,
            agent=self.agent,
            image=self.image,
            dedicates=self.dedicates and not job,
            job=job,
        )
        self._seq += 1
        self.link.publish(subjects.beat(None, self.id), encode_message(beat))
        await self.link.flush()

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.close()

    def _heard(self, message: Message) -> None:
        channel = message.subject.rpartition(".")[2]
        if channel == "control":
            self.controls.append(decode_control(message.payload))
            return
        packet = decode(message.payload)
        job = self._by_attempt.get(packet.attempt)
        if job is None:
            job = self._begin(packet)
        for frame in job.receiver.accept(packet) if packet.seq != UNNUMBERED else packet.frames:
            self._take(job, frame)

    def _begin(self, packet: Packet) -> Job:
        opening = packet.frames[0]
        if not isinstance(opening, Open):
            # A cancel for an attempt of an earlier life; give it a job nobody works on.
            opening = Open(1, self.session, "gai.v1.reply.none", "chat", "", False, 0, 1.0)
            return Job(self, opening, Sender(packet.attempt), Receiver(1))
        job = Job(self, opening, Sender(packet.attempt), Receiver(opening.content_length or 1))
        self.jobs.append(job)
        self._by_attempt[packet.attempt] = job
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        task = asyncio.ensure_future(script(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def _take(self, job: Job, frame: Frame) -> None:
        match frame:
            case Data():
                job.body += frame.body
                credit = job.receiver.consume(len(frame.body))
                if credit is not None:
                    job.say(Credit(credit))
            case End():
                job.arrived.set()
            case Credit():
                job.sender.credited(frame.consumed)
                job.credited.set()
            case Cancel():
                job.cancelled.set()
                job.say(Fail("cancelled"))
            case _:
                pass
