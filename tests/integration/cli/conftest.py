"""A small gateway that answers as it is told, and the command line as an owner starts it."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

KEY = "gai_right"
DIGEST = "sha256:" + "9" * 64
MODELS = [
    {"id": "garage-chat", "gai": {"alias_of": "tiny", "kind": "chat", "context": 2048}},
    {"id": "tiny", "gai": {"digest": "sha256:" + "ab" * 32, "kind": "chat", "nodes": 2}},
]

MANIFEST = {
    "digest": DIGEST,
    "name": "own",
    "added_at": "2026-11-23T15:00:00Z",
    "manifest": {
        "name": "own",
        "quantisation": "Q4_K_M",
        "licence": "MIT",
        "files": [{"path": "own.gguf", "size": 4_000_000_000, "sha256": "0" * 64}],
        "sources": [
            {"type": "huggingface", "repo": "org/own", "revision": "main"},
            {"type": "https", "base": "https://models.example"},
        ],
        "rank": 7,
    },
}
SHIPPED = MANIFEST | {"name": "tiny", "added_at": None}

RIG = {
    "id": "nabc",
    "name": "Anna's \x1b[31mPC",
    "state": "busy",
    "electricity": {"kwh": 12.34, "kronor": 18.5, "kronor_per_million": 1.234, "area": "SE3"},
    "models": [
        {
            "name": "tiny",
            "slots": 8,
            "running": 3,
            "decode_speed": 90.0,
            "measured_speed": 71.5,
            "measured_ttft": 0.25,
        }
    ],
}


@dataclass
class FakeGateway:
    """What it says, and what it was asked."""

    url: str = ""
    words: list[str] = field(default_factory=lambda: ["Hello", " there", "."])
    ending: list[str] = field(default_factory=lambda: ["[DONE]"])
    pause_after: int | None = None
    refusal: tuple[int, dict[str, object], dict[str, str]] | None = None
    asked: list[dict[str, object]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    uploads: list[tuple[str, bytes]] = field(default_factory=list)
    batches: list[dict[str, object]] = field(default_factory=lambda: [batch()])
    submission: tuple[int, dict[str, object]] | None = None
    content: bytes = b""
    missing: int = 0
    raw: bytes | None = None
    once: list[str | None] = field(default_factory=list)
    pages: dict[str, list[object]] = field(default_factory=dict)
    left: threading.Event = field(default_factory=threading.Event)
    paused: threading.Event = field(default_factory=threading.Event)


def batch(status: str = "validating", **more: object) -> dict[str, object]:
    """Make a batch as a gateway answers of it."""
    plain = {"id": "batch_1", "object": "batch", "status": status, "created_at": 1_764_000_000}
    return plain | {"endpoint": "/v1/chat/completions", "input_file_id": "file-in"} | more


class Handler(BaseHTTPRequestHandler):
    """The few endpoints that the commands use."""

    protocol_version = "HTTP/1.1"
    gateway: FakeGateway

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        gateway = self.gateway
        size = int(self.headers.get("Content-Length", 0))
        kind, data = self.headers.get("Content-Type", ""), self.rfile.read(size)
        if kind.startswith("multipart/"):
            gateway.uploads.append((kind, data))
            data = b""
        body = json.loads(data or b"{}")
        gateway.paths.append(f"{self.command} {self.path}")
        gateway.asked.append(body)
        gateway.once.append(self.headers.get("Idempotency-Key"))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._json(401, error("Wrong key.", "invalid_api_key"))
        elif gateway.raw is not None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.write(gateway.raw)
        elif gateway.refusal is not None:
            self._json(*gateway.refusal)
        elif self.path == "/v1/chat/completions":
            with contextlib.suppress(OSError):
                self._stream()
        elif self.path.endswith("/content"):
            told = len(gateway.content) + gateway.missing
            self._whole(200, gateway.content, {"Content-Length": str(told)})
            self.close_connection = True
        else:
            self._json(*self._known(body))

    def _known(self, body: dict[str, object]) -> tuple[int, object]:
        path, _, _ = self.path.partition("?")
        made = {"id": "key_1", "name": body.get("name"), "key": "gai_new"}
        key = {"id": "key_1", "name": "laptop", "scopes": ["inference"]}
        key |= {"created_at": "2026-11-23T15:00:00Z"}
        total = {"group": "tiny", "requests": 3, "prompt_tokens": 30, "completion_tokens": 400}
        anna = {"id": "mbr_1", "name": "Anna", "created_at": "2026-11-23T15:00:00Z"}
        token = {"id": "tok_1", "token": "gaij_new", "expires_at": "2026-11-24T15:00:00Z"}
        invite = {"id": "inv_1", "secret": "gaim_new", "expires_at": "2026-11-30T15:00:00Z"}
        image = {"digest": DIGEST, "state": "pending", "base": "debian", "nodes": ["n1"]}
        limits = {"rpm": 60, "daily_gai": "1500000000", "models": ["tiny"]}
        used = {"requests": 7, "tokens": 0, "daily_gai": "250000000"}
        price = {"id": "prc_1", "model": "tiny", "prompt": "120000", "completion": "830000"}
        price |= {"effective_from": "2026-11-23T15:00:00Z", "set_by": "mbr_1", "note": "usual"}
        derived = price | {"id": "derived/*", "model": "*", "set_by": None, "note": ""}
        if self.gateway.pages.get(path):
            return 200, self.gateway.pages[path].pop(0)
        if (self.command, path) == ("POST", "/v1/batches") and self.gateway.submission:
            return self.gateway.submission
        if path.startswith("/v1/batches/"):
            batches = self.gateway.batches
            return 200, batches.pop(0) if len(batches) > 1 else batches[0]
        answers: dict[tuple[str, str], object] = {
            ("POST", "/v1/files"): {"id": "file-in", "object": "file"},
            ("DELETE", "/v1/files/file-in"): {"id": "file-in", "deleted": True},
            ("POST", "/v1/batches"): self.gateway.batches[0],
            ("GET", "/v1/batches"): {"data": self.gateway.batches, "has_more": True},
            ("GET", "/api/v1/prices"): {"data": [derived], "coming": [price]},
            ("GET", "/api/v1/prices/history"): {
                "data": [price | {"model": "sha256:ab", "name": "tiny"}]
            },
            ("PUT", "/api/v1/prices"): price,
            ("GET", "/v1/models"): {"data": MODELS},
            ("POST", "/api/v1/keys"): made,
            ("GET", "/api/v1/keys"): {"data": [key]},
            ("DELETE", "/api/v1/keys/key_1"): key | {"revoked_at": "2026-11-23T16:00:00Z"},
            ("GET", "/api/v1/keys/key_1/limits"): {"limits": limits, "used": used},
            ("PATCH", "/api/v1/keys/key_1/limits"): limits | body,
            ("PATCH", "/api/v1/members/mbr_1/limits"): limits | body,
            ("POST", "/api/v1/members"): anna,
            ("GET", "/api/v1/members"): {"data": [anna]},
            ("POST", "/api/v1/tokens"): token,
            ("POST", "/api/v1/invites"): invite,
            ("GET", "/api/v1/nodes"): {"data": [RIG]},
            ("POST", "/api/v1/nodes/nabc/forfeit"): {"id": "nabc", "amount": "1500000000"},
            ("GET", "/api/v1/usage"): {"totals": [total]},
            ("GET", "/api/v1/images"): {"data": [image]},
            ("GET", "/api/v1/manifests"): {"data": [SHIPPED, MANIFEST]},
            ("POST", "/api/v1/manifests"): MANIFEST,
            ("DELETE", "/api/v1/manifests/own"): MANIFEST,
            ("POST", f"/api/v1/images/{DIGEST}/approve"): image | {"state": "approved"},
            ("POST", f"/api/v1/images/{DIGEST}/revoke"): image | {"state": "revoked"},
        }
        if (self.command, path) in answers:
            return 200, answers[self.command, path]
        return 404, error("No such thing.", "not_found")

    def _stream(self) -> None:
        gateway = self.gateway
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number, word in enumerate(gateway.words):
            if number == gateway.pause_after:
                self._wait_for_leaving()
                return
            self._event(json.dumps({"choices": [{"delta": {"content": word}}]}))
        usage = {"prompt_tokens": 5, "completion_tokens": len(gateway.words)}
        self._event(json.dumps({"choices": [], "usage": usage}))
        for event in gateway.ending:
            self._event(event)
        self.close_connection = True

    def _event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def _wait_for_leaving(self) -> None:
        self.gateway.paused.set()
        self.connection.settimeout(20)
        if not self.connection.recv(1):
            self.gateway.left.set()

    def _json(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        plain = {"Content-Type": "application/json"}
        self._whole(status, json.dumps(body).encode(), plain | dict(headers or {}))

    def _whole(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def error(message: str, code: str) -> dict[str, object]:
    """Give OpenAI's envelope."""
    return {"error": {"message": message, "type": "x", "param": None, "code": code}}


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Run the small gateway."""
    fake = FakeGateway()
    handler = type("Told", (Handler,), {"gateway": fake})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Cli:
    """The command line in an empty home."""

    environment: dict[str, str]

    def __call__(
        self, *args: str, said: str | None = None, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; `said` goes to its stdin."""
        return subprocess.run(
            self.argv(*args),
            env=self.environment | more,
            input=said or "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def argv(self, *args: str) -> list[str]:
        """Give the argv of a command."""
        return [sys.executable, "-P", "-m", "garage_ai.cli", *args]


@pytest.fixture
def bare_cli(tmp_path: Path) -> Cli:
    """Give the command line with nothing set."""
    home = {"HOME": tmp_path, "XDG_DATA_HOME": tmp_path / "d", "XDG_STATE_HOME": tmp_path / "s"}
    places = {name: str(path) for name, path in home.items()}
    return Cli({"PATH": os.environ["PATH"], "TZ": "UTC", **places})


@pytest.fixture
def cli(bare_cli: Cli, gateway: FakeGateway) -> Cli:
    """Give the command line with the small gateway and its key in the environment."""
    return Cli(bare_cli.environment | {"GAI_GATEWAY": gateway.url, "GAI_API_KEY": KEY})
