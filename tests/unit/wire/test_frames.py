"""Packets as they cross the network."""

import msgspec
import pytest

from garage_ai.wire.errors import Malformed
from garage_ai.wire.frames import (
    MAX_DATA,
    MAX_FRAMES,
    MAX_PACKET,
    Accepted,
    Alive,
    Cancel,
    Credit,
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
from garage_ai.wire.ids import AttemptId, Digest

EVERY_KIND: list[Frame] = [
    Open(1, "s1", "gai.v1.reply.g.n.a", "chat", Digest("sha256:" + "0" * 64), True, 12, 60.0),
    Data(b"\x00\xff"),
    End(),
    Accepted(),
    Refused("busy", "full", 1.5),
    Head(200, "text/event-stream"),
    Alive(),
    Credit(65536),
    Fail("engine_lost", "died"),
    Cancel("client_gone"),
]


@pytest.mark.parametrize("frame", EVERY_KIND, ids=lambda frame: type(frame).__name__)
def test_each_kind_survives_the_wire(frame: Frame) -> None:
    """What is encoded is what is decoded."""
    packet = Packet(AttemptId("a1"), 3, (frame,))
    assert decode(encode(packet)) == packet


def test_a_full_packet_fits() -> None:
    """The most data allowed in one packet, with frames around it, stays within the limit."""
    packet = Packet(
        AttemptId("a" * 64), 1 << 30, (Head(200, "x" * 128), Data(b"x" * MAX_DATA), End())
    )
    assert len(encode(packet)) <= MAX_PACKET


def test_an_unknown_kind_is_left_out() -> None:
    """A newer peer's frames are ignored, the known ones around them are kept."""
    payload = msgspec.msgpack.encode(["a1", 0, [[4], [99, "new", {"x": 1}], [2, b"hello"]]])
    assert decode(payload).frames == (Accepted(), Data(b"hello"))


def test_a_field_appended_to_a_known_kind_is_ignored() -> None:
    """A newer peer may say more in a frame than this version reads."""
    payload = msgspec.msgpack.encode(["a1", 0, [[8, 7, "more"]]])
    assert decode(payload).frames == (Credit(7),)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x91" * 60_000,
        msgspec.msgpack.encode(["a1", 0, [[]]]),
        msgspec.msgpack.encode(["a1", 0, [["2", b"x"]]]),
        msgspec.msgpack.encode(["a1", -2, []]),
        msgspec.msgpack.encode(["a" * 65, 0, []]),
        msgspec.msgpack.encode(["a1", 0, [[6, 42, "text/plain"]]]),
        msgspec.msgpack.encode(["a1", 0, [[4]] * (MAX_FRAMES + 1)]),
        msgspec.msgpack.encode(["a1", 0, [[2, b"x" * MAX_PACKET]]]),
    ],
    ids=[
        "nothing",
        "no msgpack",
        "deep",
        "no kind",
        "kind as text",
        "number below none",
        "long id",
        "no status",
        "too many frames",
        "too long",
    ],
)
def test_what_is_no_packet_is_malformed(payload: bytes) -> None:
    """Bad input gives the one typed error."""
    with pytest.raises(Malformed):
        decode(payload)
