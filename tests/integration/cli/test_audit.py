"""`gai audit` against a gateway whose log another hand was in."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.integration.cli.conftest import Cli, FakeGateway

from garage_ai.audit.chain import NOTHING, hash_of, signed_head
from garage_ai.audit.exports import Export
from garage_ai.audit.models import Head, Recorded
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.slow

NOON: Final = datetime(2026, 11, 29, 12, tzinfo=UTC)
SIGNER: Final = KeyPair(Role.OPERATOR, bytes(range(32)))


def entries(count: int, subject: str = "key", at: datetime = NOON) -> list[Recorded]:
    """A log of so many entries."""
    made: list[Recorded] = []
    previous = NOTHING
    for seq in range(1, count + 1):
        fields = (seq, at, "key.made", "key", "key_1", "mbr_1", f"{subject}_{seq}", "mbr_1", "{}")
        previous = hash_of(Recorded(*fields, NOTHING), previous)
        made.append(Recorded(*fields, previous))
    return made


LOG: Final = entries(5)


def head(size: int, signer: KeyPair = SIGNER) -> Head:
    """A head over the first entries."""
    return signed_head(size, LOG[size - 1].hash, NOON, signer)


def lines(shown: Export) -> list[dict[str, object]]:
    return [json.loads(line) for line in shown.lines()]


def serve(
    gateway: FakeGateway,
    log: Sequence[Recorded],
    heads: Sequence[Head],
    key: str = SIGNER.public,
    *,
    remembered: Head | None = None,
) -> None:
    """Let the gateway show this log and these heads, the newest first, two at a time."""
    newest = lines(Export(None, tuple(log)))[:0:-1]
    pages = [newest[start : start + 2] for start in range(0, len(newest), 2)]
    plain = [lines(Export(each, ()))[0]["head"] for each in heads]
    last = lines(Export(remembered, ()))[0]["head"]
    gateway.pages["/api/v1/audit"] = [{"data": page, "before": 1} for page in [*pages, []]]
    gateway.pages["/api/v1/audit/heads"] = [
        {
            "public_key": key,
            "data": [each] if each else [],
            "remembered": last,
            "before": 5 if each is not (plain or [None])[-1] else None,
        }
        for each in plain or [None]
    ]
    gateway.pages["/api/v1/audit/head"] = plain[:1]


def findings(cli: Cli, *words: str) -> list[int]:
    """Verify, and give the numbers of what was found."""
    ended = cli("audit", "verify", "--json", *words)
    shown = json.loads(ended.stdout)
    assert ended.returncode == (0 if shown["whole"] else 1), ended.stderr
    return [each["seq"] for each in shown["findings"]]


def test_a_log_as_it_was_written_is_whole(cli: Cli, gateway: FakeGateway) -> None:
    """All of its pages and heads were looked at."""
    serve(gateway, LOG, [head(5), head(3)])
    assert findings(cli) == []
    assert [path.partition("&")[0] for path in gateway.paths] == [
        "GET /api/v1/audit/heads?limit=1000",
        "GET /api/v1/audit/heads?before=5",
        "GET /api/v1/audit?limit=1000",
        "GET /api/v1/audit?before=4",
        "GET /api/v1/audit?before=2",
        "GET /api/v1/audit?before=1",
    ]


def test_what_stands_below_the_first_number_is_found(cli: Cli, gateway: FakeGateway) -> None:
    """A reading from 1 on would pass it over."""
    hidden = Recorded(-(2**63), NOON, "key.made", "key", None, None, "k", None, "{}", NOTHING)
    serve(gateway, [hidden, *LOG], [head(5)])
    assert findings(cli) == [-(2**63)]


def test_an_older_head_that_was_changed_is_found(cli: Cli, gateway: FakeGateway) -> None:
    """The newest alone does not vouch for the others."""
    stranger = KeyPair.generate(Role.OPERATOR)
    serve(gateway, LOG, [head(5), head(3, stranger)])
    assert findings(cli) == [3]


def test_the_key_is_not_taken_from_the_heads(cli: Cli, gateway: FakeGateway) -> None:
    """A log that was signed anew with another key names that key; the gateway has its own."""
    stranger = KeyPair.generate(Role.OPERATOR)
    serve(gateway, LOG, [head(5, stranger)])
    assert findings(cli) == [1, 5]  # whose entries nobody signed


def test_a_log_that_was_cut_back_is_found_by_a_noted_head(
    cli: Cli, gateway: FakeGateway, tmp_path: Path
) -> None:
    """Cut off with the heads over it, which nothing in it tells; from a file or as text."""
    serve(gateway, LOG, [head(5)])
    noted = cli("audit", "head", "--json").stdout
    (tmp_path / "head.json").write_text(noted)
    whole = b"".join(Export(head(5), tuple(LOG)).lines())
    (tmp_path / "export.jsonl").write_bytes(whole)
    serve(gateway, LOG, [head(5)])
    assert "5 entries" in cli("audit", "head").stdout
    for given in (noted, str(tmp_path / "head.json"), str(tmp_path / "export.jsonl")):
        serve(gateway, LOG, [head(5)])
        assert findings(cli, "--head", given) == []
        serve(gateway, LOG[:3], [head(3)])
        assert findings(cli) == []
        serve(gateway, LOG[:3], [head(3)])
        assert findings(cli, "--head", given) == [5]
    (tmp_path / "cut.jsonl").write_bytes(b"".join(Export(head(3), tuple(LOG[:3])).lines()))
    assert findings(cli, str(tmp_path / "cut.jsonl"), "--head", noted) == [5]


def test_what_the_gateway_remembers_shows_a_log_that_was_rewritten(
    cli: Cli, gateway: FakeGateway
) -> None:
    """Cut back, or with the heads over what was changed gone; its database does not have it."""
    for log in (LOG[:3], [*LOG[:3], *entries(5, "other")[3:]]):
        serve(gateway, log, [head(3)], remembered=head(5))
        assert 5 in findings(cli)
    serve(gateway, LOG, [head(3)], remembered=head(5))
    assert findings(cli) == []


def test_entries_that_nobody_signed_for_minutes_are_found(
    cli: Cli, gateway: FakeGateway, tmp_path: Path
) -> None:
    """Without any head, behind one, or of a moment to come; not those of just now."""
    serve(gateway, LOG, [])
    assert findings(cli) == [1]
    serve(gateway, LOG, [head(3)])
    assert findings(cli) == [4]
    for years in (0, 1):
        now = datetime.now(UTC) + timedelta(days=365 * years)
        fresh = entries(2, at=now)
        serve(gateway, fresh, [])
        assert findings(cli) == ([1] if years else [])
    (tmp_path / "export.jsonl").write_bytes(b"".join(Export(None, tuple(fresh)).lines()))
    assert findings(cli, str(tmp_path / "export.jsonl")) == []  # it was just now, then


@pytest.mark.parametrize("given", ["{}", "no-such-file"])
def test_what_is_no_head_is_told(cli: Cli, given: str) -> None:
    """Before anything is asked."""
    ended = cli("audit", "verify", "--head", given)
    assert ended.returncode == 1
    assert given in ended.stderr
