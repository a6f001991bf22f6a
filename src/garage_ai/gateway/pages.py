"""Health, metrics, the API's description and the plain pages. None of them needs a key.

Metrics hold no personal data and name no key, member or node; who wants them private puts the
gateway's address behind a proxy that keeps `/metrics` to itself.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from importlib import resources
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from garage_ai.gateway import asgi
from garage_ai.gateway.asgi import App, Receive, Send
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.metrics import Scrape
from garage_ai.gateway.services import Services

RETRY_SECONDS: Final = 5.0

_HTML: Final = (b"content-type", b"text/html; charset=utf-8")
TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
INVITE: Final = """\
You are invited to this network. Become a member with one command, the whole link in it:
Du är inbjuden till det här nätet. Bli medlem med ett kommando, med hela länken i:

    gai member accept 'LINK'

`gai` comes with the code of Garage AI, which the one who invited you has: `./start.sh --help` in
its folder installs it, as `.venv/bin/gai` (Linux). What stands behind the # is for you alone.
`gai` följer med koden till Garage AI, som den som bjöd in dig har: `./start.sh --help` i dess mapp
installerar det, som `.venv/bin/gai` (Linux). Det som står efter # är bara för dig.
""".encode()
"""What an invite's link shows; its secret stands behind the # and was not sent."""

_NO_CACHE: Final = (b"cache-control", b"no-cache")


def fixed(status: int, body: bytes, *headers: asgi.Header) -> App:
    """Make an endpoint that always answers the same."""

    async def endpoint(scope: asgi.Scope, _receive: Receive, send: Send) -> None:
        request = (b"x-request-id", asgi.request_id(scope).encode())
        await asgi.answer(send, status, body, [*headers, request])

    return endpoint


def produced(make: Callable[[], bytes], *headers: asgi.Header) -> App:
    """Make an endpoint that answers with what `make` gives."""

    async def endpoint(scope: asgi.Scope, _receive: Receive, send: Send) -> None:
        request = (b"x-request-id", asgi.request_id(scope).encode())
        await asgi.answer(send, 200, make(), [*headers, request])

    return endpoint


def live() -> App:
    """Answer for as long as the event loop turns."""
    return fixed(200, b'{"status":"live"}', asgi.JSON, asgi.NO_STORE)


def ready(services: Services) -> App:
    """Answer 200 when a node within reach serves a model, else 503; tell where the database is.

    A gateway that is about to go says so with a 503, whatever serves: it still answers, and who
    chooses between several is to choose another.

    A database that is away makes nobody unready: known keys are served without it, and were all
    gateways taken out for it nobody would be.
    """
    answers = {
        True: fixed(200, b'{"status":"ready","database":"reachable"}', asgi.JSON, asgi.NO_STORE),
        False: fixed(200, b'{"status":"ready","database":"away"}', asgi.JSON, asgi.NO_STORE),
    }

    async def endpoint(scope: asgi.Scope, receive: Receive, send: Send) -> None:
        if services.leaving.has_begun:
            raise GatewayError("shutting_down", retry_after=RETRY_SECONDS)
        services.leaving.asked()
        if not services.network.ready:
            raise GatewayError("not_ready", retry_after=RETRY_SECONDS)
        await answers[services.keys.reachable](scope, receive, send)

    return endpoint


def metrics(services: Services) -> App:
    """Answer in Prometheus's text format."""
    kind = (b"content-type", CONTENT_TYPE_LATEST.encode())
    return produced(Scrape(services.metrics.render).text, kind, asgi.NO_STORE)


def page(name: str) -> App:
    """Serve one of this package's pages; its own script and style run, and nothing else."""
    text = resources.files("garage_ai.gateway").joinpath("static", name).read_text("utf-8")
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors 'none'; script-src {_hashes('script', text)}; "
        f"style-src {_hashes('style', text)}"
    )
    return fixed(
        200,
        text.encode(),
        _HTML,
        _NO_CACHE,
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
    )


def _hashes(tag: str, text: str) -> str:
    """Name the page's own inline parts by their SHA-256 (Content Security Policy, level 2)."""
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


__all__ = ["INVITE", "TEXT", "fixed", "live", "metrics", "page", "produced", "ready"]
