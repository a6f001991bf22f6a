"""Keys in headers, scopes, and the limit on wrong ones."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from garage_ai.accounts import (
    OPERATOR,
    InvalidKey,
    IssuedKey,
    Key,
    KeyId,
    LimitSettings,
    MemberId,
    Scope,
)
from garage_ai.accounts.limit_models import NONE
from garage_ai.audit.models import GATEWAY, Actor
from garage_ai.gateway.auth import (
    MAX_CHANGES,
    MAX_FAILURES,
    MAX_READS,
    WINDOW_SECONDS,
    Doorkeeper,
    presented_key,
)
from garage_ai.gateway.errors import GatewayError

KEY = Key(
    KeyId("key_1"),
    MemberId("mbr_1"),
    "k",
    frozenset({"inference"}),
    None,
    datetime(2026, 1, 1, tzinfo=UTC),
)


class OneKey:
    """Accounts with one key, `gai_good`."""

    reachable = True

    def authenticate(self, presented: str) -> Key:
        if presented != "gai_good":
            raise InvalidKey("no such key")
        return KEY

    async def create(
        self,
        name: str,
        member: MemberId = OPERATOR,
        scopes: Iterable[Scope] = (),
        *,
        region: str | None = None,
        limits: LimitSettings = NONE,
        idempotency_key: str | None = None,
        by: Actor = GATEWAY,
    ) -> IssuedKey:
        raise NotImplementedError

    async def revoke(self, key: KeyId, *, of: MemberId | None = None, by: Actor = GATEWAY) -> Key:
        raise NotImplementedError

    async def list(
        self, of: MemberId | None = None, limit: int | None = None, after: KeyId | None = None
    ) -> list[Key]:
        raise NotImplementedError

    async def refresh(self) -> None:
        raise NotImplementedError


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(*headers: tuple[bytes, bytes], address: str = "10.0.0.1") -> dict[str, object]:
    return {"headers": list(headers), "client": (address, 1)}


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([(b"authorization", b"Bearer gai_1")], "gai_1"),
        ([(b"authorization", b"bearer   gai_1 ")], "gai_1"),
        ([(b"api-key", b"gai_1")], "gai_1"),
        ([(b"x-api-key", b"gai_1")], "gai_1"),
        ([(b"x-api-key", b"gai_2"), (b"authorization", b"Bearer gai_1")], "gai_1"),
        ([(b"authorization", b"Basic abc"), (b"api-key", b"gai_1")], "gai_1"),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"gai_1")], None),
        ([(b"api-key", b"  ")], None),
        ([], None),
    ],
)
def test_where_keys_are_found(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    """A key is found in any of three headers, the bearer first."""
    assert presented_key(scope(*headers)) == key


def test_a_long_key_is_cut() -> None:
    """No more than a key's length is looked at."""
    found = presented_key(scope((b"api-key", b"x" * 60_000)))
    assert found is not None
    assert len(found) == 256


def test_scopes() -> None:
    """A good key without the scope is refused with another code than a bad key."""
    door = Doorkeeper(OneKey(), lambda: None, lambda _: None)
    good = scope((b"api-key", b"gai_good"))
    assert door.admit(good, "inference") is KEY
    assert door.admit(good, None) is KEY
    with pytest.raises(GatewayError) as caught:
        door.admit(good, "admin")
    assert caught.value.code == "insufficient_scope"


def test_too_many_failures() -> None:
    """After twenty wrong keys an address is told to wait; a right key works meanwhile."""
    clock, failures = Clock(), []
    door = Doorkeeper(OneKey(), lambda: failures.append(1), lambda _: None, clock)
    wrong, good = scope((b"api-key", b"gai_bad")), scope((b"api-key", b"gai_good"))
    for _ in range(MAX_FAILURES):
        with pytest.raises(InvalidKey):
            door.admit(wrong, "inference")
    with pytest.raises(GatewayError) as caught:
        door.admit(wrong, "inference")
    assert caught.value.code == "too_many_failures"
    assert caught.value.retry_after == WINDOW_SECONDS
    assert door.admit(good, "inference") is KEY
    with pytest.raises(InvalidKey):
        door.admit(scope((b"api-key", b"gai_bad"), address="10.0.0.2"), "inference")
    clock.now += WINDOW_SECONDS
    with pytest.raises(InvalidKey):
        door.admit(wrong, "inference")
    assert len(failures) == MAX_FAILURES + 3


def test_no_key_is_no_guess() -> None:
    """Requests without a key are refused and counted, but never made to wait."""
    failures: list[int] = []
    door = Doorkeeper(OneKey(), lambda: failures.append(1), lambda _: None)
    for _ in range(3 * MAX_FAILURES):
        with pytest.raises(GatewayError) as caught:
            door.admit(scope(), "inference")
        assert caught.value.code == "invalid_api_key"
    assert len(failures) == 3 * MAX_FAILURES


@pytest.mark.parametrize(("method", "most"), [("GET", MAX_READS), ("DELETE", MAX_CHANGES)])
def test_calls_of_a_member_are_counted(method: str, most: int) -> None:
    """So many a minute reach the database with all its keys; others' and the operator's do too."""
    clock = Clock()
    door = Doorkeeper(OneKey(), lambda: None, lambda _: None, clock)
    call = {"method": method}
    second = replace(KEY, id=KeyId("key_2"))
    for _ in range(most // 2):
        door.count_call(call, KEY)
        door.count_call(call, second)
    with pytest.raises(GatewayError) as caught:
        door.count_call(call, second)
    assert (caught.value.code, caught.value.retry_after) == ("rate_limit_exceeded", WINDOW_SECONDS)
    door.count_call({"method": "POST" if method == "GET" else "HEAD"}, KEY)
    door.count_call(call, replace(KEY, member=MemberId("mbr_2")))
    for of_the_operator in ("admin", "usage"):
        door.count_call(call, replace(KEY, scopes=frozenset({of_the_operator})))
    clock.now += WINDOW_SECONDS
    door.count_call(call, KEY)
