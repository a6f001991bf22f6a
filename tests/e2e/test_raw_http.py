"""The gateway met by bytes on a socket: what exactly stands on the wire."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from bench.mock_answers import Shape, stream_parts
from tests.parts.http_caller import DONE, chat_body
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.product import REAL, Product

CHAT = "/v1/chat/completions"


class Wire:
    """One connection, and what came on it that was not read yet."""

    def __init__(self, product: Product) -> None:
        self._socket = socket.create_connection(("127.0.0.1", product.port), timeout=30)
        self._key = product.key
        self._rest = b""

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, method: str, path: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: gai", f"authorization: Bearer {self._key}"]
        lines += [f"content-length: {len(body)}"] if body else []
        self.send("\r\n".join([*lines, *headers, "", ""]).encode() + body)

    def read(self) -> bytes:
        """Give what comes next; nothing when the other side has closed."""
        data, self._rest = self._rest or self._socket.recv(65536), b""
        return data

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one whole answer, however its end is told."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body, self._rest = self._chunked(data)
        else:
            length = int(headers.get("content-length", 0))
            while len(data) < length:
                data += self._more()
            body, self._rest = data[:length], data[length:]
        return int(first.split()[1]), headers, body

    def _chunked(self, data: bytes) -> tuple[bytes, bytes]:
        body = b""
        while True:
            while b"\r\n" not in data:
                data += self._more()
            size, _, data = data.partition(b"\r\n")
            length = int(size, 16)
            while len(data) < length + 2:
                data += self._more()
            body += data[:length]
            data = data[length + 2 :]
            if length == 0:
                return body, data

    def _more(self) -> bytes:
        data = self.read()
        assert data, "the connection was closed in the middle of an answer"
        return data

    def is_closed(self) -> bool:
        """Tell whether the other side hangs up, with nothing more said."""
        try:
            return self.read() == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def wire(lent: Lent) -> Iterator[Wire]:
    """A connection to the gateway."""
    with closing(Wire(lent.product)) as connection:
        yield connection


@contextmanager
def another(lent: Lent) -> Iterator[Wire]:
    with closing(Wire(lent.product)) as connection:
        yield connection


def body_of(**fields: object) -> bytes:
    return json.dumps(chat_body(MODEL, "Hej", **fields)).encode()


def engine_events(chunks: int, *, usage: bool) -> bytes:
    """Give the bytes that the engine writes, without their chunked coat."""
    parts = stream_parts(Shape("chat", MODEL, chunks, "length", "", 16))
    events = [*parts.events, *([parts.usage] if usage else [])]
    return b"".join(event.partition(b"\r\n")[2][:-2] for event in events)


@pytest.mark.parametrize("usage", [True, False])
def test_the_events_are_the_engines_own_bytes(lent: Lent, wire: Wire, usage: bool) -> None:
    """Nothing is changed in between; the end is exactly one [DONE]."""
    options = {"include_usage": usage}
    wire.request("POST", CHAT, body_of(stream=True, stream_options=options, max_tokens=5))
    status, headers, body = wire.answer()
    assert status == 200
    assert body == engine_events(5, usage=usage) + DONE
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"].startswith("no-")


def test_a_chat_with_what_start_sh_starts(garage: Product) -> None:
    """Nothing but a socket is needed to talk to the small model: headers, events, one [DONE]."""
    with closing(Wire(garage)) as wire:
        asked = chat_body(REAL, "Say hello.", stream=True, max_tokens=8, temperature=0)
        wire.request("POST", CHAT, json.dumps(asked).encode())
        status, headers, body = wire.answer()
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-gai-node"] in {node["id"] for node in garage.nodes()}
    *events, end = body.removesuffix(b"\n\n").split(b"\n\n")
    assert end + b"\n\n" == DONE
    told = [json.loads(event.removeprefix(b"data: ")) for event in events]
    choices = [choice for event in told for choice in event["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices)
    assert [each["finish_reason"] for each in choices if each["finish_reason"]] in (
        ["stop"],
        ["length"],
    )


def test_events_leave_as_they_come(lent: Lent, wire: Wire) -> None:
    """No event waits for another: they arrive with the engine's own pauses between them."""
    lent.engine.set(chunk_delay=0.1)
    # One of ten: a busy machine may read two at once.
    assert any(events_come_one_by_one(wire) for _ in range(10))


def events_come_one_by_one(wire: Wire) -> bool:
    """Ask for a stream, and tell whether its events were read apart, in the engine's own pace."""
    wire.request("POST", CHAT, body_of(stream=True, max_tokens=5))
    times: dict[int, float] = {}
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        received += wire._more()
        times.setdefault(received.count(b"data: "), time.monotonic())
    assert DONE in received
    return {1, 2, 3, 4} <= set(times) and 0.2 < times[4] - times[1] < 1.0


def test_headers_of_an_answer(lent: Lent, wire: Wire) -> None:
    """Who answered, from where and how far it is trusted; what was left out is named."""
    internals: dict[str, object] = {"cache_salt": "s", "priority": 1, "chat_template": "{{x}}"}
    wire.request("POST", CHAT, body_of(**internals, user="me"))
    status, headers, _ = wire.answer()
    assert status == 200
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-gai-node"] == lent.node.id
    assert headers["x-gai-region"] == "none"
    assert headers["x-gai-trust"] == "unsandboxed"
    dropped = {name.strip() for name in headers["x-gai-dropped"].split(",")}
    assert dropped == {*internals, "user"}
    arrived = json.loads(lent.engine.last()["body"])
    assert set(arrived) == {"model", "messages"}


def test_a_clients_key_goes_no_further(lent: Lent, wire: Wire) -> None:
    """Neither the key nor any other header of the client reaches the engine."""
    wire.request("POST", CHAT, body_of(), "x-private: secret", "cookie: a=b")
    assert wire.answer()[0] == 200
    arrived = lent.engine.last()["headers"]
    assert not {"x-private", "cookie", "x-forwarded-for"} & set(arrived)
    assert lent.product.key not in json.dumps(arrived)


def test_one_connection_serves_many_requests(lent: Lent, wire: Wire) -> None:
    """Streams, whole answers and errors follow each other on one connection."""
    ids = set()
    for path, body, expected in [
        (CHAT, body_of(), 200),
        (CHAT, body_of(stream=True), 200),
        (CHAT, b"{", 400),
        ("/v1/nothing", b"{}", 404),
        (CHAT, body_of(), 200),
    ]:
        wire.request("POST", path, body)
        status, headers, _ = wire.answer()
        assert status == expected
        ids.add(headers["x-request-id"])
    assert len(ids) == 5


def test_garbage_after_an_answer(wire: Wire) -> None:
    """A kept connection on which something else than HTTP comes is answered once and closed."""
    wire.request("GET", "/health/live")
    assert wire.answer()[0] == 200
    wire.send(b"\x00\xff\x13 not http at all\r\n\r\n")
    status, _, body = wire.answer()
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_http")
    assert wire.is_closed()


def test_garbage_right_behind_a_request(lent: Lent, wire: Wire) -> None:
    """Whatever becomes of the request, its connection ends and no other one notices."""
    with another(lent) as other:
        wire.request("POST", CHAT, body_of())
        wire.send(b"\x00\xff\x13 not http at all\r\n\r\n")
        while not wire.is_closed():
            pass
        other.request("POST", CHAT, body_of())
        assert other.answer()[0] == 200


def test_garbage_instead_of_a_request(lent: Lent, wire: Wire) -> None:
    """It is answered in the envelope, and the connection is closed."""
    wire.send(b"\x16\x03\x01 hello\r\n\r\n")
    status, headers, body = wire.answer()
    assert status == 400
    assert json.loads(body)["error"]["code"] == "invalid_http"
    assert headers["connection"] == "close"
    assert wire.is_closed()


def test_requests_in_a_row_without_waiting(lent: Lent, wire: Wire) -> None:
    """Pipelined requests are answered in their order."""
    for number in range(1, 4):
        wire.request("POST", CHAT, body_of(max_tokens=number))
    sizes = [json.loads(wire.answer()[2])["usage"]["completion_tokens"] for _ in range(3)]
    assert sizes == [1, 2, 3]


def test_a_body_that_is_too_large(lent: Lent, wire: Wire) -> None:
    """The client that is still writing can read the 413, and use the connection again."""
    wire.request("POST", CHAT, b'{"x":"' + b"a" * 9_000_000 + b'"}')
    status, headers, body = wire.answer()
    assert status == 413
    assert json.loads(body)["error"]["code"] == "body_too_large"
    assert "x-request-id" in headers
    wire.request("GET", "/v1/models")
    assert wire.answer()[0] == 200


def test_a_large_body_of_unknown_length(lent: Lent, wire: Wire) -> None:
    """Chunked bodies have the same bound."""
    wire.request("POST", CHAT, b"", "transfer-encoding: chunked")
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    for _ in range(8_000_000 // 0x10000 + 2):
        wire.send(chunk)
    wire.send(b"0\r\n\r\n")
    status, _, body = wire.answer()
    assert status == 413
    assert json.loads(body)["error"]["code"] == "body_too_large"


def test_a_large_body_that_is_allowed(lent: Lent, wire: Wire) -> None:
    """Seven megabytes reach the engine whole, in as many packets as it takes."""
    picture = "data:image/png;base64," + "A" * 7_000_000
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}]
    wire.request("POST", CHAT, json.dumps({"model": MODEL, "messages": messages}).encode())
    assert wire.answer()[0] == 200
    assert json.loads(lent.engine.last()["body"])["messages"] == messages


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/images/generations", 404, "unsupported_endpoint"),
        ("GET", "/v1/assistants", 404, "unsupported_endpoint"),
        ("POST", "/v1/responses", 404, "unsupported_endpoint"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/api/v1/nodes/nnosuchnode", 404, "node_not_found"),
    ],
)
def test_addresses_that_are_not_there(
    wire: Wire, method: str, path: str, status: int, code: str
) -> None:
    """Each says so in OpenAI's envelope."""
    wire.request(method, path, b"{}" if method == "POST" else b"")
    answered, headers, body = wire.answer()
    assert answered == status
    error = json.loads(body)["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    assert "x-request-id" in headers


def test_without_a_key(lent: Lent) -> None:
    """Nothing but health, metrics and the description is open."""
    stranger = lent.http.with_key("")
    for path in ("/v1/models", "/api/v1/nodes", "/api/v1/usage"):
        answer = stranger.get(path)
        assert (answer.status, answer.code) == (401, "invalid_api_key")
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"):
        assert stranger.get(path).status == 200
