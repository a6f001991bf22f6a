"""The one change a node makes to a request."""

import json

import pytest

from garage_ai.node.body import salted, streamed, with_model, with_own_media
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


def part(kind: str, **fields: object) -> bytes:
    content = [{"type": "text", "text": "see http://a.b: an image"}, {"type": kind, **fields}]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


FETCHED = [
    part("image_url", image_url={"url": "http://192.168.1.1/"}),
    part("image_url", image_url="file:///etc/passwd"),
    part("text", text="a", image_url={"url": "https://nas/"}),
    part("video_url", video_url={"url": " HTTP://nas/"}),
    part("input_audio", input_audio={"data": "ftp://nas/a.wav"}),
    part("file", file={"file_id": "file-1"}),
    part("image_url", image_url={"url": "http://nas/"}).replace(b"image_url", b"im\\u0061ge_url"),
    part("image_url", image_url={"url": "http://nas/"}).replace(b"image_url", b"IMAGE_URL"),
    part("image_url", image_url={"url": "http://nas/"}).replace(b"http", b"\\u0068ttp"),
    b'{"input":[{"image":"http://nas/"}]}',
    b'{"Messages":[{"Content":{"url":"http://nas/"}}]}',
]


@pytest.mark.parametrize("body", FETCHED)
def test_what_an_engine_would_have_to_fetch_goes_to_none(body: bytes) -> None:
    """However the address is written, and wherever it stands."""
    assert with_own_media(body) is None


KEPT = [
    part("image_url", image_url={"url": "data:image/png;base64,AA//"}),
    part("input_audio", input_audio={"data": "//uQxAAA", "format": "mp3"}),
    part("file", file={"file_data": "data:application/pdf;base64,AA", "file_id": None}),
    b'{"messages":[{"role":"user","content":"http://a.b: is this file an image?"}]}',
    b'{"input":["https://a.b/image.png","\\u00e5"]}',
    b'{"prompt":[1,2],"user":"http://image"}',
    b'{"messages":[{"role":"tool","tool_call_id":"functions.image:0","content":"a"}]}',
]


@pytest.mark.parametrize("body", KEPT)
def test_what_a_request_brings_along_and_what_it_says_stays(body: bytes) -> None:
    """Text may name any address."""
    kept = with_own_media(body)
    assert kept is not None
    assert json.loads(kept) == json.loads(body)


def test_no_second_address_hides_behind_the_first() -> None:
    """What was looked at is what is sent on."""
    body = b'{"messages":[{"content":[{"image_url":"http://nas/","image_url":"data:,a"}]}]}'
    kept = with_own_media(body)
    assert kept is not None
    assert b"nas" not in kept


def test_plain_text_goes_on_as_it_came() -> None:
    """Without a sign of media nothing is parsed."""
    body = b'{"messages":[{"role":"user","content":"hi"}]} '
    assert with_own_media(body) is body
