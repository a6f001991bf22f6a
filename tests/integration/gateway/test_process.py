"""The gateway as a process of its own: it starts alone, says why when it cannot, and stops."""

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.conftest import MakeNats
from tests.parts.manifests import as_json, own_manifest
from tests.parts.raw_http import Answer, chat, raw_at, read_answer, request_bytes

from garage_ai.gateway.leaving import LEAVING_SECONDS
from garage_ai.gateway.listening import PortUnavailable, bind
from garage_ai.gateway.process import serve
from garage_ai.local.tls import own_certificates
from garage_ai.network.authority import Authority
from garage_ai.settings import GatewaySettings
from garage_ai.wire.trust import fingerprint_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

READY = re.compile(rb"gateway_ready port=(\d+)")


@dataclass
class Gateway:
    """A gateway's process."""

    process: asyncio.subprocess.Process
    port: int
    folder: Path
    tls: ssl.SSLContext | None

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {(self.folder / 'admin.key').read_text().strip()}"}

    async def ask(
        self, path: str, method: str = "GET", body: object = None, key: bool = True
    ) -> Answer:
        sent = json.dumps(body).encode() if body is not None else None
        headers = {"content-type": "application/json"} | (self.bearer if key else {})
        async with raw_at(self.port, self.tls) as (reader, writer):
            writer.write(request_bytes(path, method=method, headers=headers, body=sent))
            return await read_answer(reader)


async def start(folder: Path, *options: str, **settings: object) -> asyncio.subprocess.Process:
    told = {f"GAI_{name.upper()}": str(value) for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GAI_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "garage_ai.gateway",
        *options,
        env=inherited | {"GAI_DATA_DIR": str(folder), "GAI_PORT": "0"} | told,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(
    folder: Path, tls: ssl.SSLContext | None = None, **settings: object
) -> AsyncIterator[Gateway]:
    """Run a gateway, and see that SIGTERM ends it in time with exit code 0."""
    process = await start(folder, **settings)
    try:
        yield Gateway(process, await _port(process), folder, tls)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            said += line
            if found := READY.search(line):
                return int(found[1])
    raise AssertionError(said.decode())


async def test_alone(tmp_path: Path) -> None:
    """Without NATS it starts, answers with its admin key, and says that its link is away."""
    async with running(tmp_path, nats_urls="nats://127.0.0.1:1") as gateway:
        assert (await gateway.ask("/health/live", key=False)).status == 200
        assert (await gateway.ask("/v1/models", key=False)).status == 401
        assert (await gateway.ask("/v1/models")).status == 200
        assert (await gateway.ask("/api/v1/nodes")).status == 200
        assert b"gai_nats_connected 0.0" in (await gateway.ask("/metrics")).body
        answer = await gateway.ask("/v1/chat/completions", "POST", chat())
        assert (answer.status, answer.code) == (503, "nats_unavailable")
        key = gateway.bearer
        assert oct((tmp_path / "admin.key").stat().st_mode & 0o777) == "0o600"
    async with running(tmp_path, nats_urls="nats://127.0.0.1:1") as gateway:
        assert gateway.bearer == key
        usage = json.loads((await gateway.ask("/api/v1/usage?by=outcome")).body)
        assert usage["totals"][0]["group"] == "nats_unavailable"


async def test_a_model_that_was_added_stays(tmp_path: Path) -> None:
    """Through a restart, shown without a key, and with a price of its own soon after it came."""
    made = own_manifest()
    path = f"/api/v1/manifests/{made.name}"
    async with running(tmp_path, nats_urls="nats://127.0.0.1:1") as gateway:
        assert (await gateway.ask(path, key=False)).status == 404
        added = await gateway.ask("/api/v1/manifests", "POST", as_json(made))
        assert added.status == 200
    async with running(tmp_path, nats_urls="nats://127.0.0.1:1") as gateway:
        assert (await gateway.ask(path, key=False)).body == added.body
        assert b"gai_catalogue_failures_total 0.0" in (await gateway.ask("/metrics")).body
        priced = json.loads((await gateway.ask("/api/v1/prices")).body)
        listed = [*priced["data"], *priced["coming"]]
        assert made.name in {each["note"] for each in listed}


async def test_with_nats(tmp_path: Path, make_nats: MakeNats) -> None:
    """With NATS and keys that are there it connects, and again after NATS was away."""
    nats = make_nats()
    await nats.start()
    operator = Authority.open_or_create(tmp_path / "nats").operator
    async with running(
        tmp_path / "data", nats_urls=nats.tcp_url, authority_dir=tmp_path / "nats"
    ) as gateway:
        await _until_linked(gateway, up=True)
        nats.stop()
        await _until_linked(gateway, up=False)
        await nats.start()
        await _until_linked(gateway, up=True)
    assert Authority.open_or_create(tmp_path / "nats").operator == operator
    assert not (tmp_path / "data" / "nats").exists()


async def _until_linked(gateway: Gateway, *, up: bool) -> None:
    wanted = b"gai_nats_connected 1.0" if up else b"gai_nats_connected 0.0"
    async with asyncio.timeout(60):
        # It is another process's state, so it can only be asked for.
        while wanted not in (await gateway.ask("/metrics")).body:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_leaving(tmp_path: Path) -> None:
    """SIGTERM in the middle of a request: not ready, alive, at work, and gone when it is done."""
    body = json.dumps(chat()).encode()
    async with running(tmp_path, nats_urls="nats://127.0.0.1:1") as gateway:
        asked = request_bytes(
            "/v1/chat/completions", method="POST", headers=gateway.bearer, body=body
        )
        async with raw_at(gateway.port) as (reader, writer):
            writer.write(asked[:-1])
            await _until_said(gateway, "/health/ready", "not_ready")
            gateway.process.send_signal(signal.SIGTERM)
            await _until_said(gateway, "/health/ready", "shutting_down")
            assert (await gateway.ask("/health/live", key=False)).status == 200
            assert (await gateway.ask("/v1/models")).status == 200
            writer.write(asked[-1:])
            answer = await read_answer(reader)
            assert (answer.status, answer.code) == (503, "nats_unavailable")
        # Ready was asked for, so that it stays; whoever is in a hurry says so once more.
        assert (await gateway.ask("/health/ready")).code == "shutting_down"


async def _until_said(gateway: Gateway, path: str, code: str) -> None:
    async with asyncio.timeout(20):
        # A signal is heard of a moment after it was sent.
        while (await gateway.ask(path)).code != code:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("options", "how"), [(("--alone",), signal.SIGTERM), ((), signal.SIGINT)])
async def test_who_waits_at_a_keyboard_is_not_kept_waiting(
    tmp_path: Path, options: tuple[str, ...], how: signal.Signals
) -> None:
    """The gateway of `gai up`, and one that Ctrl-C ends, go at once, whoever asks for readiness."""
    process = await start(tmp_path, *options, nats_urls="nats://127.0.0.1:1")
    try:
        gateway = Gateway(process, await _port(process), tmp_path, None)
        assert (await gateway.ask("/health/ready")).code == "not_ready"
        process.send_signal(how)
        assert await asyncio.wait_for(process.wait(), LEAVING_SECONDS / 2) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_tls(tmp_path: Path) -> None:
    """With the network's own CA it speaks HTTPS, and tokens carry the CA's fingerprint."""
    made = own_certificates(tmp_path / "tls", "127.0.0.1")
    assert made.ca is not None
    trusting = ssl.create_default_context(cafile=str(made.ca))
    async with running(
        tmp_path / "data",
        trusting,
        nats_urls="nats://127.0.0.1:1",
        tls_cert=made.files.cert,
        tls_key=made.files.key,
        tls_ca=made.ca,
    ) as gateway:
        assert (await gateway.ask("/health/live", key=False)).status == 200
        token = json.loads((await gateway.ask("/api/v1/tokens", "POST", {})).body)["token"]
        assert token.endswith("." + fingerprint_of(made.ca.read_text()))
        shown = await gateway.ask("/api/v1/ca.pem", key=False)
        assert shown.body == made.ca.read_bytes()


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"host": "0.0.0.0"}, 1, "GAI_TLS_CERT"),  # noqa: S104 - it must be refused
        ({"port": "many"}, 2, "GAI_PORT"),
    ],
)
async def test_wrong_settings(
    tmp_path: Path, settings: dict[str, str], code: int, said: str
) -> None:
    """What keeps it from starting is said in one line without a trace."""
    process = await start(tmp_path, **settings)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == code, errors
    assert said in errors.decode()
    assert b"Traceback" not in errors


async def test_port_taken(tmp_path: Path) -> None:
    """A port that somebody else holds is named before anything is opened."""
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=str(port)):
            await serve(GatewaySettings(port=port, data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


async def test_nothing_stays_open(tmp_path: Path) -> None:
    """A start that fails half-way closes what it had opened."""
    settings = GatewaySettings(port=0, data_dir=tmp_path, tls_ca=tmp_path / "missing.pem")
    with pytest.raises(FileNotFoundError):
        await serve(settings)
    assert (tmp_path / "garage.db").exists()
