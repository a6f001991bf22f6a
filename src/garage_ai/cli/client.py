"""The gateway's HTTP API as the commands use it: typed, blocking, every wait bounded.

Standard library only, so that a command is up in a fraction of a second.
"""

import contextlib
import http.client
import ssl
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from garage_ai import __version__
from garage_ai.cli import ledger_shapes, own_shapes, shapes
from garage_ai.cli.errors import Failed, NotThere, Unavailable, Unreachable
from garage_ai.cli.exchange import READ, Body, Connection, check, chunks, encoded, lines
from garage_ai.cli.exchange_words import say as say_exchange
from garage_ai.cli.sse import BadStream
from garage_ai.cli.target import Target, untrusted_advice
from garage_ai.cli.words import say

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
FIRST_TOKEN_SECONDS: Final = 180.0
"""Queue, prefill of a long prompt on a small card, and another try elsewhere."""
VERIFY_SECONDS: Final = 600.0
"""The whole books, some million entries."""

_MAX_ANSWER: Final = 16 * 1024 * 1024
_PAGE: Final = 1000
"""The most that a gateway gives of a list at once."""

Method = Literal["GET", "POST", "PATCH", "DELETE", "PUT"]
Owner = Literal["keys", "members"]
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
        limits: Mapping[str, object] | None = None,
    ) -> shapes.MadeKey:
        """Make a key, the operator's if no member is named; its secret is told this once."""
        body = _given(
            name=name, scopes=list(scopes), region=region, member=member, limits=limits or None
        )
        return self._ask("POST", "/api/v1/keys", shapes.MadeKey, body)

    def keys(self) -> tuple[shapes.Key, ...]:
        """List all keys, revoked ones too."""
        return self._all("/api/v1/keys", shapes.Page[shapes.Key])

    def revoke_key(self, key: str) -> shapes.Key:
        """Revoke a key."""
        return self._ask("DELETE", f"/api/v1/keys/{quote(key, safe='')}", shapes.Key)

    def limits(self, kind: Owner, owner: str) -> shapes.LimitsShown:
        """Show what a key or a member may use, and how much of it is used."""
        return self._ask("GET", _limits_path(kind, owner), shapes.LimitsShown)

    def limit(self, kind: Owner, owner: str, changes: Mapping[str, object]) -> shapes.Limits:
        """Change what a key or a member may use."""
        return self._ask("PATCH", _limits_path(kind, owner), shapes.Limits, changes)

    def create_member(self, name: str) -> shapes.Member:
        """Make a member."""
        return self._ask("POST", "/api/v1/members", shapes.Member, {"name": name})

    def members(self) -> tuple[shapes.Member, ...]:
        """List all members."""
        return self._all("/api/v1/members", shapes.Page[shapes.Member])

    def change_member(self, member: str, verb: str) -> shapes.Member:
        """Suspend or resume (`verb`) a member."""
        path = f"/api/v1/members/{quote(member, safe='')}/{verb}"
        return self._ask("POST", path, shapes.Member)

    def create_invite(self, name: str | None, uses: int, days: int) -> own_shapes.MadeInvite:
        """Make an invite; its secret is told this once."""
        body = _given(name=name, uses=uses, ttl=days * 86_400)
        return self._ask("POST", "/api/v1/invites", own_shapes.MadeInvite, body)

    def invites(self) -> tuple[own_shapes.Invite, ...]:
        """List all invites, those that are over too."""
        return self._all("/api/v1/invites", shapes.Page[own_shapes.Invite])

    def end_invite(self, invite: str) -> own_shapes.Invite:
        """Make an invite useless."""
        return self._ask("DELETE", f"/api/v1/invites/{quote(invite, safe='')}", own_shapes.Invite)

    def accept_invite(self, secret: str, name: str | None) -> own_shapes.Joined:
        """Become a member; the first key is told this once."""
        body = _given(secret=secret, name=name)
        return self._ask("POST", "/api/v1/invites/accept", own_shapes.Joined, body)

    def me(self) -> own_shapes.Me:
        """Show what is one's own."""
        return self._ask("GET", "/api/v1/me", own_shapes.Me)

    def export_me(self) -> Generator[bytes, None, None]:
        """Give all that is kept of oneself, piece by piece."""
        with self._talk("GET", "/api/v1/me/export", None, self._answer_seconds) as response:
            while piece := response.read(READ):
                yield piece

    def erase_me(self, name: str) -> shapes.Member:
        """Erase oneself; the own name confirms it."""
        return self._ask("DELETE", "/api/v1/me", shapes.Member, {"name": name})

    def acts(
        self,
        *,
        since: datetime | None = None,
        actor: str | None = None,
        action: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[own_shapes.Act, ...]:
        """List who did what, newest first, from those before number `before`."""
        moment = since.isoformat() if since else None
        query = _given(since=moment, actor=actor, action=action, before=before, limit=limit)
        return self._ask("GET", f"/api/v1/audit?{urlencode(query)}", own_shapes.Acts).data

    def audit_head(self) -> own_shapes.SignedHead | None:
        """Give the newest signed head of the log; None before the first."""
        try:
            return self._ask("GET", "/api/v1/audit/head", own_shapes.SignedHead)
        except NotThere:
            return None

    def audit_heads(self, before: int | None = None) -> own_shapes.SignedHeads:
        """Give signed heads, newest first, and the key that the gateway signs with."""
        query = urlencode(_given(before=before, limit=1000))
        return self._ask("GET", f"/api/v1/audit/heads?{query}", own_shapes.SignedHeads)

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

    def remove_node(self, node: str) -> shapes.Removed:
        """Cut a node off for good."""
        return self._ask("DELETE", f"/api/v1/nodes/{quote(node, safe='')}", shapes.Removed)

    def names(self) -> tuple[shapes.Claim, ...]:
        """List the names that members serve models of their own under, or wait to."""
        return self._ask("GET", "/api/v1/models", shapes.Claims).claims

    def approve_name(self, name: str, member: str) -> shapes.Claim:
        """Let a member serve under a name that it claimed."""
        body = {"name": name, "member": member}
        return self._ask("POST", "/api/v1/models/approve", shapes.Claim, body)

    def forfeit(self, node: str, reason: str, key: str) -> ledger_shapes.Forfeited:
        """Give what is held back of a node to the community, once for each key."""
        path = f"/api/v1/nodes/{quote(node, safe='')}/forfeit"
        extra = {"Idempotency-Key": key}
        with self._talk("POST", path, {"reason": reason}, self._answer_seconds, extra) as response:
            return self._read(response, ledger_shapes.Forfeited)

    def nodes(self) -> tuple[shapes.Rig, ...]:
        """List all nodes with what they do."""
        return self._all("/api/v1/nodes", shapes.Page[shapes.Rig])

    def images(self) -> tuple[shapes.Image, ...]:
        """List the images that nodes run or administrators have decided about."""
        return self._ask("GET", "/api/v1/images", shapes.Images).data

    def decide_image(self, digest: str, verb: str, note: str | None = None) -> shapes.Image:
        """Approve or revoke (`verb`) an image."""
        path = f"/api/v1/images/{quote(digest, safe=':')}/{verb}"
        return self._ask("POST", path, shapes.Image, _given(note=note) or None)

    def prices(self) -> shapes.Prices:
        """List what models cost now, and what will hold."""
        return self._ask("GET", "/api/v1/prices", shapes.Prices)

    def price_history(self, model: str | None = None) -> tuple[shapes.Price, ...]:
        """List every price there was or will be, newest first, of one model or of all."""
        query = f"?{urlencode({'model': model})}" if model else ""
        return self._ask("GET", f"/api/v1/prices/history{query}", shapes.Prices).data

    def set_price(
        self,
        model: str,
        prompt: int,
        completion: int,
        *,
        effective_from: datetime | None = None,
        note: str | None = None,
        batch: int | None = None,
    ) -> shapes.Price:
        """Add a price to the list, in nGAI for 1,000 tokens; batches pay thousandths of it."""
        since = effective_from.isoformat() if effective_from else None
        body = _given(model=model, prompt=str(prompt), completion=str(completion))
        body |= _given(effective_from=since, note=note, batch_permille=batch)
        return self._ask("PUT", "/api/v1/prices", shapes.Price, body)

    def usage(self, by: str, since: datetime | None = None) -> shapes.Usage:
        """Add up what was used, by one property."""
        query = {"by": by, "limit": "0"} | ({"since": since.isoformat()} if since else {})
        return self._ask("GET", f"/api/v1/usage?{urlencode(query)}", shapes.Usage)

    def balance(self, account: str | None = None) -> ledger_shapes.Balance:
        """Show what an account has, the own one if none is named."""
        query = urlencode(_given(account=account))
        return self._ask("GET", f"/api/v1/ledger/balance?{query}", ledger_shapes.Balance)

    def statement(
        self, account: str | None = None, limit: int = 50, before: int | None = None
    ) -> ledger_shapes.Statement:
        """List an account's entries, newest first."""
        query = urlencode(_given(account=account, limit=limit, before=before))
        return self._ask("GET", f"/api/v1/ledger/statement?{query}", ledger_shapes.Statement)

    def verify_ledger(self) -> ledger_shapes.Verification:
        """Check the whole books."""
        path = "/api/v1/ledger/verify"
        with self._talk("GET", path, None, VERIFY_SECONDS) as response:
            return self._read(response, ledger_shapes.Verification)

    def adjust(self, account: str, nano: int, reason: str, key: str) -> ledger_shapes.Entry:
        """Enter an adjustment, once for each key."""
        body = {"account": account, "amount": str(nano), "reason": reason}
        path, extra = "/api/v1/ledger/adjustments", {"Idempotency-Key": key}
        with self._talk("POST", path, body, self._answer_seconds, extra) as response:
            return self._read(response, ledger_shapes.Entry)

    def export_ledger(self, form: str, account: str | None = None) -> Generator[str, None, None]:
        """Give all entries, or those of an account, in a form, line by line."""
        path = f"/api/v1/ledger/export?{urlencode(_given(format=form, account=account))}"
        with self._talk("GET", path, None, self._answer_seconds) as response:
            for line in lines(response):
                yield line.decode(errors="replace")

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
                yield from chunks(response)
            except BadStream as error:
                raise self._not_ours() from error

    def _ask(
        self, method: Method, path: str, kind: type[_T], body: Mapping[str, object] | None = None
    ) -> _T:
        with self._talk(method, path, body, self._answer_seconds) as response:
            return self._read(response, kind)

    def _all(self, path: str, kind: type[shapes.Page[_T]]) -> tuple[_T, ...]:
        """Give a list to its end; an older gateway gives all of it at once."""
        page = self._ask("GET", f"{path}?limit={_PAGE}", kind)
        found = page.data
        while page.after is not None:
            query = urlencode({"limit": _PAGE, "after": page.after})
            page = self._ask("GET", f"{path}?{query}", kind)
            found += page.data
        return found

    def _read(self, response: http.client.HTTPResponse, kind: type[_T]) -> _T:
        text = response.read(_MAX_ANSWER)
        if response.length and len(text) < _MAX_ANSWER:
            raise http.client.IncompleteRead(text, response.length)
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._not_ours() from error

    @contextlib.contextmanager
    def _talk(
        self,
        method: Method,
        path: str,
        body: Body,
        seconds: float,
        extra: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give the answer, its status known to be good."""
        connection = Connection(self._target, self._connect_seconds)
        try:
            connection.connect()
            connection.sock.settimeout(seconds)
            headers = self._headers() | dict(extra or {})
            # Whoever refuses a long body may stop reading; what it says about it stands there.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, self._prefix + path, encoded(body), headers)
            # The response holds the socket too: closing it is what the gateway sees.
            with contextlib.closing(connection.getresponse()) as response:
                check(response, self._target.url, self._not_ours())
                yield response
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message or str(error)
            raise Unreachable(
                say("error.untrusted", url=self._target.url, reason=reason),
                untrusted_advice(self._target),
            ) from error
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).replace("_", " ").lower()
            raise Unreachable(
                say("error.no_tls", url=self._target.url, reason=reason), say("error.no_tls.next")
            ) from error
        except TimeoutError as error:
            raise self._unreachable(f"{seconds:.0f} s") from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        except http.client.IncompleteRead as error:
            cut = say("error.broken_off", message=say_exchange("cut"))
            raise Unavailable(cut) from error
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


def _limits_path(kind: Owner, owner: str) -> str:
    return f"/api/v1/{kind}/{quote(owner, safe='')}/limits"


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


__all__ = ["ANSWER_SECONDS", "CONNECT_SECONDS", "FIRST_TOKEN_SECONDS", "Client", "Owner"]
