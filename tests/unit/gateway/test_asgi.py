"""Headers that hold what others wrote."""

import pytest

from garage_ai.gateway.asgi import (
    Event,
    answer_error,
    dropped_header,
    header_text,
    new_request_id,
)
from garage_ai.gateway.errors import GatewayError


def test_dropped_names_are_sorted_and_safe() -> None:
    """Names come sorted, without anything that could break out of the header."""
    name, value = dropped_header(["z", "cache_salt", "a\r\nx: y", "é"])
    assert name == b"x-gai-dropped"
    assert value == b"?,a??x??y,cache_salt,z"


def test_dropped_names_are_bounded() -> None:
    """A thousand long names make a short header."""
    _, value = dropped_header(f"{number:04}" + "x" * 500 for number in range(1000))
    assert len(value) < 3000
    assert value.endswith(b",and-968-more")


@pytest.mark.parametrize(
    ("text", "safe"),
    [("SE-AB", b"SE-AB"), ("a\r\nb: c", b"a??b: c"), ("å", b"?"), ("x" * 999, b"x" * 256)],
)
def test_header_text(text: str, safe: bytes) -> None:
    """What a node says of itself cannot split an answer."""
    assert header_text(text) == safe


def test_request_ids() -> None:
    """Ids are of one shape, do not repeat, and stand in the order of time."""
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(each.startswith("req_") and len(each) == 31 for each in ids)
    assert new_request_id()[:15] >= max(ids)[:15]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (GatewayError("storage_unavailable"), b"5"),
        (GatewayError("no_node", retry_after=0.2), b"1"),
        (GatewayError("invalid_json"), None),
    ],
)
async def test_what_passes_by_itself_says_when_to_try_again(
    error: GatewayError, wait: bytes | None
) -> None:
    """Every 503 has a Retry-After, its own or the usual one."""
    events: list[Event] = []

    async def send(event: Event) -> None:
        events.append(event)

    await answer_error(send, error, "req_1")
    assert dict(events[0]["headers"]).get(b"retry-after") == wait
