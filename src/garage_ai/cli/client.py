"""The gateway's HTTP API as the commands use it: typed, blocking, every wait bounded.

Standard library only, so that a command is up in a fraction of a second.
"""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from garage_ai import __version__
from garage_ai.cli import shapes
from garage_ai.cli.errors import CliError, Failed, Refused, Unreachable
from garage_ai.cli.sse import BadStream, events
from garage_ai.cli.target import Target
from garage_ai.cli.words import say

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
FIRST_TOKEN_SECONDS: Final = 180.0
"""Queue, prefill of a long prompt on a small card, and another try elsewhere."""

_MAX_ANSWER: Final = 16 * 1024 * 1024
_MAX_LINE: Final = 4 * 1024 * 1024
_READ: Final = 64 * 1024

Method = Literal["GET", "POST", "DELETE"]
_T = TypeVar("_T")


class Client:
    """One gateway with one key. Every method raises CliError and nothing else."""

    def __init__(
        self,
        target: Target,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._target: Final = target
        # A gateway behind a proxy may live under a path of it.
        self._prefix: Final = urlsplit(target.url).path.rstrip("/")
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds

    @property
    def target(self) -> Target:
        """Where it goes."""
        return self._target

    def models(self) -> tuple[shapes.Model, ...]:
        """List the models being served."""
        return self._ask("GET", "/v1/models", shapes.Models).data

    def create_key(
        self,
        name: str,
        scopes: tuple[str, ...],
        region: str | None = None,
        member: str | None = None,
    ) -> shapes.MadeKey:
        """Make a key, the operator's if no member is named; its secret is told this once."""
        body = _given(name=name, scopes=list(scopes), region=region, member=member)
        return self._ask("POST", "/api/v1/keys", shapes.MadeKey, body)

    def keys(self) -> tuple[shapes.Key, ...]:
        """List all keys, revoked ones too."""
        return self._ask("GET", "/api/v1/keys", shapes.Keys).data

    def revoke_key(self, key: str) -> shapes.Key:
        """Revoke a key."""
        return self._ask("DELETE", f"/api/v1/keys/{quote(key, safe='')}", shapes.Key)

    def create_member(self, name: str) -> shapes.Member:
        """Make a member."""
        return self._ask("POST", "/api/v1/members", shapes.Member, {"name": name})

    def members(self) -> tuple[shapes.Member, ...]:
        """List all members."""
        return self._ask("GET", "/api/v1/members", shapes.Members).data

    def create_token(
        self,
        region: str | None = None,
        member: str | None = None,
        *,
        bare_allowed: bool = False,
    ) -> shapes.MadeToken:
        """Make an enrolment token, one use; its node is the member's, or the operator's.

        With `bare_allowed` that node needs no sandbox.
        """
        body = _given(region=region, member=member, bare_allowed=bare_allowed or None)
        return self._ask("POST", "/api/v1/tokens", shapes.MadeToken, body)

    def admit_node(self, node: str) -> shapes.Node:
        """Let a node serve without a whole sandbox."""
        return self._ask("POST", f"/api/v1/nodes/{quote(node, safe='')}/admit", shapes.Node)

    def usage(self, by: str, since: datetime | None = None) -> shapes.Usage:
        """Add up what was used, by one property."""
        query = {"by": by, "limit": "0"} | ({"since": since.isoformat()} if since else {})
        return self._ask("GET", f"/api/v1/usage?{urlencode(query)}", shapes.Usage)

    def chat(
        self, model: str, messages: list[shapes.Message], max_tokens: int | None = None
    ) -> Generator[shapes.Chunk, None, None]:
        """Ask for an answer and give its pieces as they come.

        Closing it closes the connection, which stops the node.
        """
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": each.role, "content": each.content} for each in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        with self._talk("POST", "/v1/chat/completions", body, FIRST_TOKEN_SECONDS) as response:
            try:
                yield from _chunks(response)
            except BadStream as error:
                raise self._not_ours() from error

    def _ask(
        self, method: Method, path: str, kind: type[_T], body: Mapping[str, object] | None = None
    ) -> _T:
        with self._talk(method, path, body, self._answer_seconds) as response:
            text = response.read(_MAX_ANSWER)
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._not_ours() from error

    @contextlib.contextmanager
    def _talk(
        self, method: Method, path: str, body: Mapping[str, object] | None, seconds: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give the answer, its status known to be good."""
        connection = _Connection(self._target, self._connect_seconds)
        try:
            connection.connect()
            connection.sock.settimeout(seconds)
            connection.request(method, self._prefix + path, _encoded(body), self._headers())
            # The response holds the socket too: closing it is what the gateway sees.
            with contextlib.closing(connection.getresponse()) as response:
                if response.status >= http.client.BAD_REQUEST:
                    raise _refusal(response, self._not_ours())
                yield response
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message or str(error)
            raise Unreachable(
                say("error.untrusted", url=self._target.url, reason=reason),
                say("error.untrusted.next"),
            ) from error
        except TimeoutError as error:
            raise self._unreachable(f"{seconds:.0f} s") from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        except http.client.HTTPException as error:
            raise self._not_ours() from error
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._target.key}",
            "Content-Type": "application/json",
            "User-Agent": f"gai/{__version__}",
            "Connection": "close",
        }

    def _unreachable(self, reason: str) -> Unreachable:
        return Unreachable(
            say("error.unreachable", url=self._target.url, reason=reason),
            say("error.unreachable.next"),
        )

    def _not_ours(self) -> Failed:
        return Failed(say("error.not_ours", url=self._target.url))


class _Connection(http.client.HTTPConnection):
    """HTTP, or HTTPS to a name that this machine may reach under another address."""

    def __init__(self, target: Target, seconds: float) -> None:
        super().__init__(target.name, target.port, timeout=seconds)
        self._target = target

    def connect(self) -> None:
        address = (self._target.host, self._target.port)
        self.sock = socket.create_connection(address, timeout=self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._target.is_tls:
            context = ssl.create_default_context(cafile=self._target.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.name)


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(body: Mapping[str, object] | None) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _chunks(response: http.client.HTTPResponse) -> Iterator[shapes.Chunk]:
    """Give the chunks of a stream until `[DONE]`. Raises: BadStream, Failed."""
    for data in events(_lines(response)):
        if data == b"[DONE]":
            return
        try:
            chunk = msgspec.json.decode(data, type=shapes.Chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadStream(str(error)) from error
        if chunk.error is not None:
            raise Failed(say("error.broken_off", message=chunk.error.message))
        yield chunk
    raise Failed(say("error.broken_off", message="[DONE]"))


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := response.readline(_MAX_LINE):
        yield line


def _refusal(response: http.client.HTTPResponse, not_ours: CliError) -> CliError:
    """Turn an error's answer into ours."""
    try:
        error = msgspec.json.decode(response.read(_READ), type=shapes.Refusal).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return not_ours
    if response.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return Refused(say("error.refused", message=error.message), say("error.refused.next"))
    return Failed(say("error.answered", message=error.message), _advice(response, error))


def _advice(response: http.client.HTTPResponse, error: shapes.ErrorDetail) -> str:
    if error.code == "model_not_found":
        return say("error.model.next")
    wait = response.headers.get("Retry-After", "")
    return say("error.wait.next", seconds=int(wait)) if wait.isdecimal() else ""


__all__ = ["ANSWER_SECONDS", "CONNECT_SECONDS", "FIRST_TOKEN_SECONDS", "Client"]
