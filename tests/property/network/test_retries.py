"""Whatever nodes do before the first content, a request is tried within bounds, and not after it.

The dispatcher is the real one; in place of NATS, each node that is asked does what was drawn.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garage_ai.network import plan
from garage_ai.network.answer import Answer, Request
from garage_ai.network.dispatcher import Dispatcher
from garage_ai.network.errors import DispatchError
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.models import EnrolledNode
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.registry import Registry
from garage_ai.wire.frames import (
    Accepted,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Open,
    Packet,
    Refused,
    decode,
    encode,
)
from garage_ai.wire.ids import Digest, GatewayId, NodeId, SessionId
from garage_ai.wire.messages import Beat, EngineImage, ModelServed
from garage_ai.wire.session import Handler, Message

SMALL = KnownModel("small", Digest("sha256:" + "a" * 64), "chat", 8192, rank=1)
IMAGE = EngineImage("sha256:" + "1" * 64, "sha256:" + "2" * 64)
RETRIES: Final = 3
LIMITS = DispatchLimits(queue_seconds=0.02, retries=RETRIES)
WORD = Data(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
STREAM = Head(200, "text/event-stream")

SAID: dict[str, Sequence[tuple[Frame, ...]]] = {
    "busy": [(Refused("busy"),)],
    "draining": [(Refused("draining"),)],
    "rejected": [(Accepted(), Head(400, ""), Data(b"{}"), End())],
    "unwilling": [(Accepted(), Head(429, ""), End())],
    "failed": [(Accepted(), Head(500, ""), Data(b"{}"), End())],
    "failed in a stream": [(Accepted(), STREAM, Data(b'data: {"error":{"message":"x"}}\n\n'))],
    "lost": [(Accepted(),), (Fail("engine_lost"),)],
    "lost with its first word": [(Accepted(), STREAM, WORD, Fail("engine_lost"))],
    "yielded": [(Accepted(), Fail("yielded"))],
    "too slow": [(Accepted(), Fail("engine_timeout"))],
    "nonsense": [(WORD,)],
    "a gap": [(Accepted(),)],
    "not there": [()],
    "content": [(Accepted(), STREAM, WORD)],
    "content, then lost": [(Accepted(), STREAM, WORD), (Fail("engine_lost"),)],
}
CONTENT = frozenset({"content", "content, then lost"})
NO_TRY = frozenset({"busy", "draining"})
MAY_BE_ASKED_AGAIN = frozenset({"busy", "a gap"})
"""What is over in a moment, and words that got lost on the way."""


@dataclass
class Nodes:
    """NATS, and behind it nodes that do one after the other what was drawn."""

    does: list[str]
    is_connected: bool = True
    asked: list[tuple[NodeId, str]] = field(default_factory=list)
    _heard: Handler | None = None

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        if not subject.endswith(".job"):
            return
        packet = decode(payload)
        opening = packet.frames[0]
        assert isinstance(opening, Open)
        does = self.does.pop(0) if self.does else "lost"
        self.asked.append((NodeId(subject.split(".")[3]), does))
        assert self._heard is not None
        for seq, frames in enumerate(SAID[does], start=does == "a gap"):
            said = encode(Packet(packet.attempt, seq, frames))
            message = Message(opening.reply, said, "", no_responders=does == "not there")
            asyncio.get_running_loop().call_soon(self._heard, message)

    async def subscribe(self, subject: str, handler: Handler) -> object:
        self._heard = handler
        return None

    async def wait_connected(self, seconds: float | None = None) -> None:
        return


def served_by(nodes: int) -> Registry:
    """Let so many nodes serve the small model, each with one slot."""
    registry = Registry(Names([SMALL]))
    for number in range(nodes):
        node = NodeId(f"n{number}")
        registry.enrol(EnrolledNode(node, f"mbr_{number}", node, None))
        model = ModelServed("small", SMALL.digest, slots=1, engine="ready")
        beat = Beat(
            SessionId("s"), 0, 0, "ready", (model,), sandbox="podman", limits=True, image=IMAGE
        )
        registry.heard(node, beat, time.monotonic(), time.time())
    return registry


async def ask(nodes: Nodes, registry: Registry, seed: int) -> Answer | DispatchError:
    """Put a streamed chat to the network."""
    dispatcher = Dispatcher(
        nodes,
        GatewayId("g"),
        registry,
        limits=LIMITS,
        apply_effects=lambda _: None,
        chance=random.Random(seed),
    )
    await dispatcher.start()
    request = Request("chat", "small", b"{}", stream=True, include_usage=False)
    try:
        return await dispatcher.open(request)
    except DispatchError as error:
        return error
    finally:
        await dispatcher.close()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 6), st.lists(st.sampled_from(list(SAID)), max_size=10), st.integers(0, 1 << 16)
)
def test_tries_are_bounded_and_end_with_content(nodes: int, does: list[str], seed: int) -> None:
    """At most three other nodes, none again that failed, and nobody once content has come."""
    link = Nodes(list(does))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "LONGEST_DELAY", 0.0)
        came = asyncio.run(ask(link, served_by(nodes), seed))
    ends = [end for _, end in link.asked]
    tries = [end for end in ends if end not in NO_TRY]
    assert len(tries) <= 1 + RETRIES
    assert not CONTENT & set(ends[:-1])
    assert isinstance(came, Answer) == (ends[-1] in CONTENT)
    if isinstance(came, Answer):
        assert came.tries == len(tries)
    elif "rejected" in tries:
        assert len(tries) - tries.index("rejected") <= 2
    elif len(tries) <= RETRIES:
        assert len({node for node, _ in link.asked}) == nodes, "one was left that was not asked"
    nobody_twice(link.asked, nodes)


def nobody_twice(asked: Sequence[tuple[NodeId, str]], nodes: int) -> None:
    """See that one is asked again only where it may be well, and nobody else was left."""
    for number, (node, _) in enumerate(asked):
        before = dict(asked[:number])
        if node in before:
            assert before[node] in MAY_BE_ASKED_AGAIN
            assert len(before) == nodes
