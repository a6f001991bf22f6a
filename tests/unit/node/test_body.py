"""The one change a node makes to a request."""

import json

import pytest

from garage_ai.node.body import salted, streamed, with_model
from garage_ai.node.errors import EngineProtocol


def test_puts_the_engines_name_for_the_model() -> None:
    """Only `model` changes; order and everything else stay, byte for byte."""
    body = (
        b'{"model":"garage-chat","messages":[{"role":"user","content":"\\u00e5 1e400"}],"n":1.50}'
    )
    assert with_model(body, 'my "model"') == body.replace(b'"garage-chat"', b'"my \\"model\\""')


def test_a_model_said_twice_is_said_once() -> None:
    """No second `model` can hide behind the first."""
    changed = with_model(b'{"model":"a","x":1,"model":"b"}', "m")
    assert changed.count(b'"model"') == 1
    assert json.loads(changed) == {"model": "m", "x": 1}


def test_a_body_without_model_gets_one() -> None:
    """The engine is always told which model is meant."""
    assert json.loads(with_model(b"{}", "m")) == {"model": "m"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"{", b'{"a":}', b"\xff", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """Bad or bottomless JSON gives our own error."""
    with pytest.raises(EngineProtocol):
        with_model(body, "m")


def test_asks_for_a_stream_with_usage() -> None:
    """What the client said about streaming is replaced."""
    body = streamed(b'{"stream":false,"stream_options":{"include_usage":false},"n":2}')
    assert json.loads(body) == {"stream": True, "stream_options": {"include_usage": True}, "n": 2}


def test_the_salt_is_put_in_and_cannot_be_brought() -> None:
    """Whatever a client wrote there, once or twice, is replaced."""
    body = salted(b'{"cache_salt":"mine","n":1,"cache_salt":"too"}', "m", "ours")
    assert body.count(b"cache_salt") == 1
    assert json.loads(body) == {"cache_salt": "ours", "n": 1, "model": "m"}
    with pytest.raises(EngineProtocol):
        salted(b"[]", "m", "ours")


def test_tells_vllm_what_has_time() -> None:
    """A batch request stands behind the others; of a chat nothing is said, whatever it says."""
    assert json.loads(salted(b"{}", "m", "s", "batch"))["priority"] > 0
    assert "priority" not in json.loads(salted(b"{}", "m", "s"))
