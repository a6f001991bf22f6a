"""`gai ledger rebuild` on a database whose balances another hand changed."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.cli.conftest import Cli
from tests.parts.money import A, grant

from garage_ai.audit.service import AuditLog
from garage_ai.ledger import Ledger
from garage_ai.ledger.projector import project
from garage_ai.storage import Storage, sqlite_url


async def keep(file: Path) -> None:
    storage = await Storage.open(sqlite_url(file))
    await Ledger(storage).post([grant("g1", A, 5_000_000_000)])
    await project(storage)
    await storage.close()


async def acts(file: Path) -> list[str]:
    storage = await Storage.open(sqlite_url(file))
    found = [entry.action for entry in await AuditLog(storage).following()]
    await storage.close()
    return found


def test_balances_are_made_again(bare_cli: Cli, tmp_path: Path) -> None:
    """What they were and are is told, and logged; a second time there is nothing to do."""
    rebuild, file = ("ledger", "rebuild", "--data-dir", str(tmp_path)), tmp_path / "garage.db"
    missing = bare_cli(*rebuild)
    assert (missing.returncode, file.exists()) == (1, False)
    asyncio.run(keep(file))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE balances SET amount = 7, entries = 3 WHERE account = ?", (A,))
        connection.commit()
    told = bare_cli(*rebuild)
    assert told.returncode == 0, told.stderr
    rows = [line.split()[:3] for line in told.stdout.splitlines()]
    assert rows[1:] == [[A, "0.000000007", "5.000000000"]]
    again = bare_cli(*rebuild, "--json")
    assert json.loads(again.stdout) == {"accounts": []}
    assert asyncio.run(acts(file)) == ["ledger.rebuilt"]
