"""A client of a gateway that sees everything: status, headers, each event, how an answer ends."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body; its shape is the test's business."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code in OpenAI's error envelope; empty when it is no error."""
        return "" if self.status < 400 else str(self.json()["error"]["code"])

    @property
    def text(self) -> str:
        """What a chat answer says."""
        return str(self.json()["choices"][0]["message"]["content"])


@dataclass
class Ending:
    """What came of a stream: its events, and how it ended.

    `error` is the code of an error event, `broken` says that the connection broke off.
    """

    events: list[bytes] = field(default_factory=list)
    error: str | None = None
    done: bool = False
    broken: bool = False
    took: float = 0.0

    @property
    def text(self) -> str:
        """What the stream said."""
        return "".join(map(text_of, self.events))


def text_of(event: bytes) -> str:
    """Give the content in one event."""
    payload = event.removeprefix(b"data: ").strip()
    if payload == b"[DONE]":
        return ""
    choices = json.loads(payload).get("choices", [])
    return "".join(
        choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices
    )


class Stream:
    """An answer of server-sent events, read as it comes."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self.response = connection.getresponse()
        self.headers = {name.lower(): value for name, value in self.response.getheaders()}
        self.status = self.response.status
        self._buffer = b""

    def event(self) -> bytes:
        """Give the next event with its empty line; nothing at the end."""
        # Not line by line: `readline` overlooks that the last chunk is missing.
        while b"\n\n" not in self._buffer:
            data = self.response.read1(65536)
            if not data:
                break
            self._buffer += data
        event, border, self._buffer = self._buffer.partition(b"\n\n")
        return event + border

    def content(self) -> bytes:
        """Give the next event that says something."""
        while event := self.event():
            if text_of(event):
                return event
        raise AssertionError("the stream ended before it said anything")

    def rest(self, limit: float = 30.0) -> Ending:
        """Read to the end, whatever it is, for `limit` seconds at most."""
        ending = Ending()
        began = time.monotonic()
        try:
            while event := self.event():
                assert time.monotonic() - began < limit, "the stream does not end"
                self._take(event, ending)
        except (http.client.HTTPException, ConnectionError):
            ending.broken = True
        ending.took = time.monotonic() - began
        return ending

    def _take(self, event: bytes, ending: Ending) -> None:
        payload = event.removeprefix(b"data: ").strip()
        assert (ending.done, ending.error) == (False, None), f"after the end: {event!r}"
        if payload == b"[DONE]":
            ending.done = True
            return
        error = json.loads(payload).get("error")
        if error:
            assert set(error) == {"message", "type", "param", "code"}
            ending.error = error["code"]
            return
        ending.events.append(event)

    def whole(self) -> bytes:
        """Give all that is still to come, as it comes on the wire."""
        return self._buffer + self.response.read()

    def close(self) -> None:
        """Hang up."""
        self.response.close()
        self._connection.close()


class Caller:
    """One gateway with one key; every wait is bounded by `timeout` seconds."""

    def __init__(self, url: str, key: str, *, ca: str | None = None, timeout: float = 30.0) -> None:
        self.url = url
        self.key = key
        self.timeout = timeout
        self._ca = ca
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None

    def with_key(self, key: str) -> "Caller":
        """Give the same with another key."""
        return Caller(self.url, key, ca=self._ca, timeout=self.timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send a request on a connection of its own; `body` is bytes, or becomes JSON.

        Raises: OSError, http.client.HTTPException.
        """
        connection = self._connect(timeout)
        try:
            connection.request(method, path, _bytes(body), self._headers(headers))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Read something."""
        return self.ask("GET", path)

    def chat(self, model: str, text: str = "Say hello.", **fields: object) -> Answer:
        """Ask for a whole chat answer."""
        return self.ask("POST", "/v1/chat/completions", chat_body(model, text, **fields))

    @contextmanager
    def stream(
        self,
        model: str,
        text: str = "Say hello.",
        *,
        path: str = "/v1/chat/completions",
        **fields: object,
    ) -> Iterator[Stream]:
        """Ask for a stream, which is hung up at the end of the block."""
        body = chat_body(model, text, stream=True, **fields)
        if path == "/v1/completions":
            body["prompt"] = body.pop("messages")[0]["content"]
        connection = self._connect(None)
        try:
            connection.request("POST", path, _bytes(body), self._headers(None))
            stream = Stream(connection)
            yield stream
            stream.close()
        finally:
            connection.close()

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        limit = self.timeout if timeout is None else timeout
        if self._tls is not None:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=limit, context=self._tls
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=limit)

    def _headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        own = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return own | {"Content-Type": "application/json"} | dict(more or {})


def chat_body(model: str, text: str, **fields: object) -> dict[str, Any]:
    """Write a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}]} | fields


def _bytes(body: object) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body).encode()
