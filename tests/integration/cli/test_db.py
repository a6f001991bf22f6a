"""`gai db` as a process: what it prints, and with which exit code it ends."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Cli

from garage_ai.network.authority import Authority
from garage_ai.storage.schema import HEAD

pytestmark = pytest.mark.slow


@pytest.fixture
def network(bare_cli: Cli, tmp_path: Path) -> Path:
    """A network's folder, without the processes."""
    data = tmp_path / "network"
    Authority.open_or_create(data / "nats")
    assert bare_cli("db", "upgrade", "--data-dir", str(data)).returncode == 0
    return data


def test_an_upgrade_tells_what_it_did(bare_cli: Cli, tmp_path: Path) -> None:
    """The first makes the tables, the second finds them."""
    first = bare_cli("db", "upgrade", "--data-dir", str(tmp_path / "new"), "--json")
    assert json.loads(first.stdout) == {"before": None, "after": HEAD}
    second = bare_cli("db", "upgrade", "--data-dir", str(tmp_path / "new"))
    assert second.stdout == f"The database is of revision {HEAD} already.\n"


def test_a_check_ends_with_0_or_1(bare_cli: Cli, network: Path) -> None:
    """Sound or not, in words and in JSON."""
    assert bare_cli("db", "check", "--data-dir", str(network)).returncode == 0
    with closing(sqlite3.connect(network / "garage.db")) as connection:
        connection.execute("DROP INDEX ix_usage_at")
    ended = bare_cli("db", "check", "--data-dir", str(network), "--json")
    assert ended.returncode == 1
    assert "ix_usage_at" in json.loads(ended.stdout)["problems"][0]
    assert "1 faults" in ended.stderr


def test_a_network_goes_out_and_in(bare_cli: Cli, network: Path, tmp_path: Path) -> None:
    """Backup and restore say where it is; a second restore there is refused."""
    (network / "admin.key").write_text("gai_x")
    file = tmp_path / "network.tar"
    made = bare_cli("db", "backup", str(file), "--data-dir", str(network), "--json")
    manifest = json.loads(made.stdout)["manifest"]
    assert {"garage.db", "admin.key", "nats/authority/garage.jwt"} < {
        member["name"] for member in manifest["members"]
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    there = tmp_path / "there"
    assert bare_cli("db", "restore", str(file), "--data-dir", str(there)).returncode == 0
    assert (there / "admin.key").read_text() == "gai_x"
    again = bare_cli("db", "restore", str(file), "--data-dir", str(there))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    taken = bare_cli("db", "backup", str(file), "--data-dir", str(network))
    assert (taken.returncode, "is there already" in taken.stderr) == (1, True)


def test_a_backup_has_a_name_of_its_moment(bare_cli: Cli, network: Path, tmp_path: Path) -> None:
    """Without one given it lies where its owner stands."""
    made = bare_cli("db", "backup", "--data-dir", str(network), "--json")
    file = Path(json.loads(made.stdout)["file"])
    try:
        assert file.match("garage-ai-*.tar")
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("postgresql://garage:hunter2@127.0.0.1:1/garage", 1),
        ("postgresql://garage:hunter2@127.0.0.1", 2),
        ("mysql://garage:hunter2@127.0.0.1/garage", 2),
    ],
)
def test_a_password_is_never_shown(bare_cli: Cli, url: str, status: int) -> None:
    """Not in an error, and not where errors come from either."""
    ended = Cli(bare_cli.environment | {"GAI_DATABASE_URL": url, "GAI_DEBUG": "1"})("db", "check")
    assert ended.returncode == status
    assert "hunter2" not in ended.stdout + ended.stderr
