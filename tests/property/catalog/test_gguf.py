import contextlib
import io
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garage_ai.catalog import (
    Demand,
    GgufInvalid,
    Offload,
    Place,
    burden_of,
    offload,
    shape_of,
)
from garage_ai.catalog.gguf import GgufHeader, parse_gguf

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
TEXT, ARRAY = 8, 9
Values = dict[str, tuple[int, bytes]]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def scalar_of(kind: int) -> st.SearchStrategy[bytes]:
    if kind == TEXT:
        return st.text(max_size=10).map(text)
    size = struct.calcsize("<" + SCALARS[kind])
    return st.binary(min_size=size, max_size=size)


def array_of(inner: tuple[int, list[bytes]]) -> tuple[int, bytes]:
    kind, items = inner
    return ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items)


kinds = st.sampled_from([*SCALARS, TEXT])
scalars = kinds.flatmap(lambda kind: scalar_of(kind).map(lambda raw: (kind, raw)))
arrays = kinds.flatmap(
    lambda kind: st.lists(scalar_of(kind), max_size=5).map(lambda items: array_of((kind, items)))
)
keys = st.sampled_from(
    ["general.architecture", "general.file_type", "tokenizer.chat_template", "split.count"]
) | st.text(max_size=12).map("tokenizer.".__add__)
pairs = st.dictionaries(keys, scalars | arrays, max_size=6)
shapes = st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=4), max_size=4)


def gguf(values: Values, tensors: list[list[int]]) -> bytes:
    out = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(values))]
    for key, (kind, raw) in values.items():
        out += [text(key), struct.pack("<I", kind), raw]
    for shape in tensors:
        out += [text("t"), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0)]
    return b"".join(out)


def read_all(data: bytes) -> GgufHeader:
    """Parse and look at everything a header can be asked."""
    header = parse_gguf(io.BytesIO(data), len(data))
    _ = header.architecture, header.context_length, header.quantisation
    _ = header.template_digest, header.tokenizer_digest
    return header


@given(pairs, shapes)
def test_well_formed_headers_are_read(values: Values, tensors: list[list[int]]) -> None:
    """Whatever a correct writer writes is understood, and the parameters add up."""
    header = read_all(gguf(values, tensors))
    assert header.parameters == sum(math.prod(shape) for shape in tensors)
    assert header.values.keys() == {k for k, (kind, _) in values.items() if kind != ARRAY}


@given(pairs, shapes, st.data())
def test_a_header_cut_short_is_a_typed_error(
    values: Values, tensors: list[list[int]], data: st.DataObject
) -> None:
    """Every proper beginning of a header is refused."""
    whole = gguf(values, tensors)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(GgufInvalid):
        read_all(whole[:cut])


@settings(max_examples=300)
@given(pairs, shapes, st.data())
def test_damaged_headers_are_read_or_refused_with_a_typed_error(
    values: Values, tensors: list[list[int]], data: st.DataObject
) -> None:
    """Flipped bytes never make another exception, a long wait or much memory."""
    whole = bytearray(gguf(values, tensors))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(GgufInvalid):
        read_all(bytes(whole))


numbers = st.integers(0, 100) | st.integers(0, 2**32 - 1)
own_keys = st.sampled_from(
    [
        *("block_count", "embedding_length", "context_length", "feed_forward_length"),
        *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
        *("attention.value_length", "attention.sliding_window", "full_attention_interval"),
        *("attention.sliding_window_pattern", "expert_count", "expert_used_count", "vocab_size"),
        *("ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"),
        *("ssm.conv_kernel", "expert_feed_forward_length"),
    ]
).map("gemma3.".__add__)
told = st.one_of(
    numbers.map(lambda value: (4, struct.pack("<I", value))),
    st.lists(numbers, max_size=5).map(
        lambda values: array_of((4, [struct.pack("<I", value) for value in values]))
    ),
)


@settings(max_examples=300)
@given(
    st.dictionaries(own_keys, told),
    st.integers(1, 60),
    st.integers(1, 10_000),
    st.integers(1, 200_000),
)
def test_whatever_a_header_says_is_planned_or_refused(
    values: Values, layers: int, hidden: int, context: int
) -> None:
    """Numbers that no model has give a plan within the card's room, or a typed refusal."""
    whole: Values = {
        "general.architecture": (TEXT, text("gemma3")),
        "gemma3.block_count": (4, struct.pack("<I", layers)),
        "gemma3.embedding_length": (4, struct.pack("<I", hidden)),
        "gemma3.context_length": (4, struct.pack("<I", context)),
    }
    header = read_all(gguf(whole | values, [[3]]))
    try:
        shape, burden = shape_of(header, "x"), burden_of(header, 10_000)
    except GgufInvalid:
        return
    assert 0 <= shape.windowed + shape.linear_layers <= shape.layers
    found = offload(shape, burden, [Place("", 8 << 30)], Demand())
    if isinstance(found, Offload):
        assert min(found.weights, found.cache, found.other) >= 0
        assert found.needed <= 8 << 30
        assert found.context <= shape.context


@given(st.binary(max_size=300))
def test_random_bytes_are_a_typed_error(data: bytes) -> None:
    """Without the magic word nothing is read."""
    with pytest.raises(GgufInvalid):
        read_all(data)


@given(st.binary(max_size=300))
def test_random_bytes_behind_a_good_beginning_are_read_or_refused(data: bytes) -> None:
    """Nor does garbage behind a correct beginning make another exception."""
    with contextlib.suppress(GgufInvalid):
        read_all(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + data)
