"""Whatever bytes come, decoders give a value or the one typed error."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.wire.errors import Malformed
from garage_ai.wire.frames import decode
from garage_ai.wire.ids import SessionId
from garage_ai.wire.messages import (
    Beat,
    decode_beat,
    decode_control,
    decode_renew,
    encode_message,
)

DECODERS = [decode, decode_beat, decode_control, decode_renew]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)
almost_frames = st.lists(
    st.tuples(st.integers(-1, 14), values, values).map(list) | values, max_size=4
)


@pytest.mark.parametrize("decoder", DECODERS)
@given(payload=st.binary(max_size=400))
def test_random_bytes(decoder: Callable[[bytes], object], payload: bytes) -> None:
    """Random bytes never raise anything but Malformed."""
    with contextlib.suppress(Malformed):
        decoder(payload)


@pytest.mark.parametrize("decoder", DECODERS)
@given(value=values)
def test_random_messagepack(decoder: Callable[[bytes], object], value: Any) -> None:
    """Well-formed MessagePack of any shape never raises anything but Malformed."""
    with contextlib.suppress(Malformed):
        decoder(msgspec.msgpack.encode(value))


@pytest.mark.parametrize("clock", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_clock_that_shows_no_moment(clock: float) -> None:
    """It would stand in lists that say it is a number of seconds."""
    beat = Beat(SessionId("s"), 0, clock, "ready", ())
    with pytest.raises(Malformed):
        decode_beat(encode_message(beat))
    assert decode_beat(encode_message(msgspec.structs.replace(beat, sent_at=1.8e9))).seq == 0


@given(attempt=st.text(max_size=70), seq=st.integers(-3, 2**33), frames=almost_frames)
def test_almost_packets(attempt: str, seq: int, frames: list[object]) -> None:
    """Arrays that look like packets never raise anything but Malformed."""
    try:
        packet = decode(msgspec.msgpack.encode([attempt, seq, frames]))
    except Malformed:
        return
    assert packet.seq == seq
    assert len(packet.frames) <= len(frames)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\x93\xa1a\x00\x91\x92\x05"])
def test_deep_nesting(decoder: Callable[[bytes], object], opening: bytes) -> None:
    """Input nested deeper than the stack is malformed, not a crash."""
    with pytest.raises(Malformed):
        decoder((opening + b"\x91" * 60_000)[:60_000])
