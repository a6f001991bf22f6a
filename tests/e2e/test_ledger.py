"""What a request costs, from the key that asked to the books that others check."""

from typing import Any

import pytest
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually

pytestmark = pytest.mark.slow


def booked(lent: Lent, request: str) -> int:
    """Add up what the operator's account paid for a request."""
    page = lent.product.gai("ledger", "statement", "--limit", "1000")
    return sum(int(each["amount"]) for each in page["transfers"] if each["request_id"] == request)


def charged(lent: Lent, key: dict[str, Any], request: str) -> int:
    """Wait for a request's record and give its charge."""

    def written() -> list[dict[str, Any]]:
        records = lent.product.records(key["id"])
        return [each for each in records if each["request_id"] == request]

    [record] = eventually("the record", written)
    return int(record["charge"])


def agree(lent: Lent, request: str, charge: int) -> None:
    """Wait until the books have taken what the record tells."""
    eventually("the entries", lambda: booked(lent, request) == charge)


def test_usage_and_ledger_agree(lent: Lent) -> None:
    """Each request's charge is what the books took for it; the operator's own key pays nothing."""
    key = lent.product.new_key()
    http = lent.http.with_key(key["key"])
    for tokens in (1, 5):
        request = http.chat(MODEL, max_tokens=tokens).headers["x-request-id"]
        charge = charged(lent, key, request)
        assert charge > 0
        agree(lent, request, charge)
    free = lent.http.chat(MODEL, max_tokens=3).headers["x-request-id"]
    eventually("the record", lambda: any(r["request_id"] == free for r in lent.product.records()))
    assert booked(lent, free) == 0


def test_the_books_are_sound_after_a_killed_gateway(own: Lent) -> None:
    """What was committed is there, and verify finds nothing; what the window lost is no fault."""
    key = own.product.new_key()
    http = own.http.with_key(key["key"])
    request = http.chat(MODEL, max_tokens=3).headers["x-request-id"]
    charge = charged(own, key, request)
    agree(own, request, charge)
    before = own.product.kill("gateway")
    own.product.again("gateway", before)
    own.product.serves(MODEL)
    assert booked(own, request) == charge
    assert http.chat(MODEL, max_tokens=3).status == 200
    seen = own.product.gai("ledger", "verify")
    assert (seen["sound"], seen["findings"]) == (True, [])


def test_the_command_tells_and_puts_right(lent: Lent) -> None:
    """Balance, adjustment and export from outside."""
    assert lent.product.gai("ledger", "balance")["account"] == "member:mbr_operator"
    member = lent.product.gai("member", "create", "--name", "gift")["id"]
    account = f"member:{member}"
    had = int(lent.product.gai("ledger", "balance", account)["amount"])
    add = ["ledger", "adjust", account, "1.5", "--reason", "gift", "--idempotency-key", "k1"]
    assert [lent.product.gai(*add)["amount"] for _ in range(2)] == ["1500000000"] * 2
    has = had + 1_500_000_000
    assert int(lent.product.gai("ledger", "balance", account)["amount"]) == has
    book = lent.http.get("/api/v1/ledger/export").body.decode()
    name = f"M{member.replace('_', '-')[1:]}"
    [line] = [each for each in book.splitlines() if f"balance Assets:Member:{name} " in each]
    assert f" {has / 1e9:.9f} " in line
