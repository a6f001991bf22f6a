"""A look at a network's database looks at its log too."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from garage_ai.audit.models import Action, Actor, Entry, Head
from garage_ai.audit.remembered import HEAD_FILE, RememberedHead
from garage_ai.audit.service import AuditLog
from garage_ai.local.backup import Home
from garage_ai.local.soundness import examine_network
from garage_ai.network.authority import Authority
from garage_ai.storage import Storage, sqlite_url
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    """A network with a signed log of three entries, and none to guard it."""
    home = Home(tmp_path, tmp_path / "nats", sqlite_url(tmp_path / "garage.db"))
    authority = Authority.open_or_create(home.nats)
    await write(home, authority.audit_key)
    return home


async def write(home: Home, signer: KeyPair) -> Head:
    storage = await Storage.open(home.database_url)
    log = AuditLog(storage)
    for number in range(3):
        await log.append(Entry(Action.KEY_MADE, Actor.node("n1"), f"key_{number}"))
    head = await log.sign(signer)
    await storage.close()
    assert head is not None
    return head


def tamper(home: Home, *statements: str) -> None:
    with closing(sqlite3.connect(home.data / "garage.db")) as sql:
        for name, text in sql.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            sql.execute(f"DROP TRIGGER {name}")
            statements = (*statements, text)
        for statement in statements:
            sql.execute(statement)
        sql.commit()


async def test_a_network_as_it_was_is_sound(home: Home) -> None:
    """With its keys beside it, or elsewhere."""
    assert (await examine_network(home)).problems == ()
    assert (await examine_network(replace(home, nats=home.data / "none"))).problems == ()


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE audit SET subject = 'key_9' WHERE seq = 2", 2),
        ("UPDATE audit SET at = 'yesterday' WHERE seq = 2", 2),
        ("UPDATE audit SET seq = -5 WHERE seq = 3", -5),
        ("UPDATE audit_heads SET signature = zeroblob(64)", 3),
    ],
)
async def test_what_another_hand_did_to_the_log_is_found(
    home: Home, statement: str, seq: int
) -> None:
    """Told with the number of the entry."""
    tamper(home, statement)
    problems = (await examine_network(home)).problems
    assert problems[0].startswith(f"log entry {seq}: ")


async def test_a_head_is_checked_against_the_network_s_own_key(home: Home) -> None:
    """Not against the one that it names."""
    tamper(home, "DELETE FROM audit_heads")
    await write(home, KeyPair.generate(Role.OPERATOR))
    problems = (await examine_network(home)).problems
    assert problems == ("log entry 6: a head that is not signed by the network's key",)


async def test_a_log_is_checked_against_what_the_gateway_remembers(home: Home) -> None:
    """Cut back with its heads it is whole by itself; a file that tells nothing is told."""
    authority = Authority.open_or_create(home.nats)
    file = RememberedHead(home.data / HEAD_FILE)
    file.write(await write(home, authority.audit_key))
    assert (await examine_network(home)).problems == ()
    tamper(home, "DELETE FROM audit WHERE seq > 3", "DELETE FROM audit_heads WHERE size > 3")
    missing = ("log entry 6: missing: a signed head names it",)
    assert (await examine_network(home)).problems == missing
    assert (await examine_network(replace(home, nats=home.data / "none"))).problems == missing
    (home.data / HEAD_FILE).write_text("none")
    assert HEAD_FILE in (await examine_network(home)).problems[0]


async def test_keys_that_are_damaged_are_told(home: Home) -> None:
    """The look goes on without them, and does not call it sound."""
    (home.nats / "authority" / "nonce.key").write_text("none")
    assert "not compared" in (await examine_network(home)).problems[0]
