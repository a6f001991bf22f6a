"""Over any history: no token enrols twice, no revoked key authenticates."""

import asyncio
import functools
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from garage_ai.accounts import (
    EnrolmentTokens,
    InvalidKey,
    InvalidToken,
    KeyId,
    KeyRing,
    Nodes,
    TokenExpired,
    TokenId,
    TokenRevoked,
    TokenUsed,
)
from garage_ai.storage import Storage, sqlite_url
from garage_ai.wire.nkey import KeyPair, Role

T = TypeVar("T")
MINUTE = timedelta(minutes=1)


@functools.cache
def migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "garage.db"

        async def make() -> None:
            await (await Storage.open(sqlite_url(path))).close()

        asyncio.run(make())
        return path.read_bytes()


class OnSql(RuleBasedStateMachine):
    """A machine with a loop and two openings of one database, as two processes have."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "garage.db"
        self.path.write_bytes(migrated())
        self.runner = asyncio.Runner()
        self.storages = [self.run(Storage.open(sqlite_url(self.path))) for _ in range(2)]

    def run(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, 10)

        return self.runner.run(bounded())

    def clock(self) -> datetime:
        return self.now

    def teardown(self) -> None:
        for storage in self.storages:
            self.run(storage.close())
        self.runner.close()
        shutil.rmtree(self.folder)


@dataclass
class Token:
    id: TokenId
    secret: str
    ends: datetime
    used: bool = False
    revoked: bool = False


class TokenMachine(OnSql):
    """Tokens against a model that a reader can check by eye."""

    tokens: Bundle[Token] = Bundle("tokens")

    @initialize()
    def open(self) -> None:
        self.sides = [EnrolmentTokens(storage, self.clock) for storage in self.storages]
        self.nodes = [Nodes(storage, self.clock) for storage in self.storages]

    @rule(target=tokens, side=st.integers(0, 1), minutes=st.integers(1, 30))
    def create(self, side: int, minutes: int) -> Token:
        token, secret = self.run(self.sides[side].create(ttl=minutes * MINUTE))
        assert secret is not None
        return Token(token.id, secret, token.expires_at)

    @rule(token=tokens, side=st.integers(0, 1))
    def revoke(self, token: Token, side: int) -> None:
        self.run(self.sides[side].revoke(token.id))
        token.revoked = True

    @rule(minutes=st.integers(1, 20))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(token=tokens, callers=st.lists(st.integers(0, 1), min_size=1, max_size=4))
    def redeem(self, token: Token, callers: list[int]) -> None:
        async def together() -> list[object]:
            calls = [
                self.nodes[side].enrol(token.secret, KeyPair.generate(Role.USER).public, "PC")
                for side in callers
            ]
            return await asyncio.gather(*calls, return_exceptions=True)

        results = self.run(together())
        refusals = [type(result) for result in results if isinstance(result, Exception)]
        expected = self.refusal(token)
        if expected is None:
            assert refusals == [TokenUsed] * (len(callers) - 1)
            token.used = True
        else:
            assert refusals == [expected] * len(callers)

    def refusal(self, token: Token) -> type[InvalidToken] | None:
        if token.used:
            return TokenUsed
        if token.revoked:
            return TokenRevoked
        return TokenExpired if self.now >= token.ends else None


class KeyMachine(OnSql):
    """Keys in two rings: what was revoked here is refused here, and there after a look."""

    keys: Bundle[tuple[KeyId, str]] = Bundle("keys")

    @initialize()
    def open(self) -> None:
        self.rings = [self.run(KeyRing.open(storage)) for storage in self.storages]
        self.made: dict[KeyId, str] = {}
        self.revoked: set[KeyId] = set()
        self.told: list[set[KeyId]] = [set(), set()]  # revocations that a ring must know

    @rule(target=keys, side=st.integers(0, 1))
    def create(self, side: int) -> tuple[KeyId, str]:
        key, secret = self.run(self.rings[side].create("a key"))
        assert secret is not None
        assert self.rings[side].authenticate(secret) == key
        self.made[key.id] = secret
        return key.id, secret

    @rule(key=keys, side=st.integers(0, 1))
    def revoke(self, key: tuple[KeyId, str], side: int) -> None:
        self.run(self.rings[side].revoke(key[0]))
        self.revoked.add(key[0])
        self.told[side].add(key[0])

    @rule(key=keys, side=st.integers(0, 1))
    def revoke_while_looking(self, key: tuple[KeyId, str], side: int) -> None:
        ring = self.rings[side]

        async def together() -> None:
            await asyncio.gather(ring.refresh(), ring.revoke(key[0]), ring.refresh())

        self.run(together())
        self.revoked.add(key[0])
        self.told[side] = set(self.revoked)

    @rule(side=st.integers(0, 1))
    def look(self, side: int) -> None:
        self.run(self.rings[side].refresh())
        self.told[side] = set(self.revoked)
        for key in self.made.keys() - self.revoked:
            assert self.rings[side].authenticate(self.made[key]).id == key

    @rule(side=st.integers(0, 1))
    def restart(self, side: int) -> None:
        self.run(self.rings[side].close())
        self.rings[side] = self.run(KeyRing.open(self.storages[side]))
        self.told[side] = set(self.revoked)

    @invariant()
    def no_revoked_key_works(self) -> None:
        for side, ring in enumerate(getattr(self, "rings", [])):
            for key in self.told[side]:
                with pytest.raises(InvalidKey):
                    ring.authenticate(self.made[key])

    def teardown(self) -> None:
        for ring in getattr(self, "rings", []):
            self.run(ring.close())
        super().teardown()


# Every step is a commit on a real disk, so there are fewer histories than the profile asks for.
FEWER = settings(max_examples=20, stateful_step_count=20, deadline=None)

TestTokens = TokenMachine.TestCase
TestTokens.settings = FEWER
TestKeys = KeyMachine.TestCase
TestKeys.settings = FEWER
