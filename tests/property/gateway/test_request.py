"""Whatever is sent, nothing but the table's fields reaches an engine, and nothing breaks."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.gateway.asgi import dropped_header
from garage_ai.gateway.errors import PROBLEMS, BadRequest
from garage_ai.gateway.fields import FIELDS
from garage_ai.gateway.request import read_request
from garage_ai.wire.frames import Route

ROUTES = st.sampled_from(list(FIELDS))
INTERNALS = st.sampled_from(
    [
        "cache_salt",
        "chat_template",
        "guided_json",
        "grammar",
        "id_slot",
        "kv_transfer_params",
        "priority",
        "prompt_logprobs",
        "structured_outputs",
        "uuid",
        "vllm_xargs",
        "Messages",
        "model ",
    ]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from(sorted({name for table in FIELDS.values() for name in table}))
MEMBERS = st.dictionaries(KNOWN | INTERNALS | st.text(), VALUES, max_size=8)


@given(ROUTES, st.binary(max_size=400))
def test_any_bytes(route: Route, body: bytes) -> None:
    """Bytes are read or refused with a code, never anything else."""
    _read(route, body)


@given(ROUTES, MEMBERS)
def test_any_object(route: Route, members: dict[str, object]) -> None:
    """So is any object, and what is made of it holds official fields alone."""
    _read(route, json.dumps(members).encode())


@given(
    MEMBERS,
    st.dictionaries(INTERNALS, VALUES, min_size=1),
    st.dictionaries(INTERNALS, VALUES),
    st.dictionaries(INTERNALS, VALUES),
)
def test_internals(
    members: dict[str, Any],
    top: dict[str, Any],
    in_message: dict[str, Any],
    in_part: dict[str, Any],
) -> None:
    """Engine internals come through neither at the top nor inside messages."""
    part = in_part | {"type": "text", "text": "x"}
    message = in_message | {"role": "user", "content": [part]}
    sound = {"model": "m", "messages": [message]}
    reading = read_request("chat", json.dumps(top | sound).encode())
    sent = json.loads(reading.body)
    assert sent == {"model": "m", "messages": [{"role": "user", "content": [part_of(part)]}]}
    assert set(top) <= reading.dropped
    assert {f"messages.{name}" for name in in_message} <= reading.dropped
    assert {f"messages.content.{name}" for name in in_part} <= reading.dropped
    _read("chat", json.dumps(members | top | sound).encode())


def part_of(part: dict[str, Any]) -> dict[str, Any]:
    """Keep what a text part may hold."""
    return {"type": part["type"], "text": part["text"]}


@given(st.lists(st.text(), max_size=60))
def test_header(names: list[str]) -> None:
    """Whatever names were dropped, the header is plain ASCII, short and on one line."""
    _, value = dropped_header(names)
    assert len(value) < 3000
    assert all(32 < byte < 127 for byte in value)


def _read(route: Route, body: bytes) -> None:
    try:
        reading = read_request(route, body)
    except BadRequest as refusal:
        _check_refusal(refusal)
        return
    sent = msgspec.json.decode(reading.body, type=dict[str, msgspec.Raw])
    official = {
        field.sent_as or field.name
        for field in FIELDS[route].values()
        if field.fate in ("pass", "rename")
    }
    assert set(sent) <= official | {"stream", "stream_options"}
    assert reading.body.startswith(b'{"model":')


def _check_refusal(refusal: BadRequest) -> None:
    assert refusal.code in PROBLEMS
    assert refusal.problem.status == 400
    assert len(refusal.message) <= 1000
