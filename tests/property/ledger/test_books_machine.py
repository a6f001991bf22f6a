"""The books in SQL against a model of them that was written apart, step by step."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from tests.databases import ON_BOTH, Server
from tests.parts.money import A, B, C, fee, grant, receipt, settlement, use

from garage_ai.audit.models import COMMAND_LINE
from garage_ai.ledger import (
    ISSUANCE,
    AccountId,
    LeaseId,
    Leases,
    Ledger,
    NanoGai,
    Overdraft,
    Receipt,
    Transfer,
    TransferConflict,
)
from garage_ai.ledger.leases import Request, Wish
from garage_ai.ledger.projector import project
from garage_ai.ledger.verification import rebuild
from garage_ai.storage import Storage, sqlite_url

pytestmark = pytest.mark.timeout(240)  # a failure takes its time to become a short one

T = TypeVar("T")

Fresh = Callable[[], AbstractContextManager[str]]
"""Makes a database that nobody has used, for the length of a block."""

PAYERS = st.sampled_from([A, B, C])
AMOUNTS = st.integers(1, 40)


@dataclass
class ModelLease:
    """A lease as the model has it."""

    payer: AccountId
    amount: int
    settled: int = 0
    state: str = "open"
    stale: bool = False


class BooksMachine(RuleBasedStateMachine):
    """Every call is made of the real ledger, and what it must have done is done to the model."""

    entries = Bundle("entries")
    leases = Bundle("leases")

    def __init__(self, fresh: Fresh) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fresh = fresh()
        self.number = 0
        self.has: Counter[AccountId] = Counter()
        self.known: dict[str, Transfer] = {}
        self.lent: dict[LeaseId, ModelLease] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def open(self) -> None:
        self.storage = self.run(Storage.open(self.fresh.__enter__()))
        self.ledger = Ledger(self.storage)
        self.live = Leases(self.storage, "live")
        self.dead = Leases(self.storage, "dead", seconds=-3600)
        for account in (A, B):
            given = grant(self.name(), account, 150)
            self.run(self.ledger.post([given]))
            self.enter(given)

    def teardown(self) -> None:
        self.run(self.storage.close())
        self.loop.close()
        self.fresh.__exit__(None, None, None)

    def name(self) -> str:
        self.number += 1
        return f"t{self.number}"

    def leased(self, account: AccountId) -> int:
        open_ones = (each for each in self.lent.values() if each.state == "open")
        return sum(each.amount - each.settled for each in open_ones if each.payer == account)

    def enter(self, *transfers: Transfer) -> None:
        for each in transfers:
            self.known[each.id] = each
            self.has[each.debit] -= each.amount
            self.has[each.credit] += each.amount

    @rule(target=entries, account=PAYERS, amount=AMOUNTS)
    def mint(self, account: AccountId, amount: int) -> Transfer:
        given = grant(self.name(), account, amount)
        assert self.run(self.ledger.post([given])) == 1
        self.enter(given)
        return given

    @rule(target=entries, debit=PAYERS, credit=PAYERS, amount=AMOUNTS, more=AMOUNTS)
    def pay(self, debit: AccountId, credit: AccountId, amount: int, more: int) -> Any:
        asked = [use(self.name(), debit, credit, amount), fee(self.name(), debit, more)]
        left = self.has[debit] - self.leased(debit) - amount
        fits = left >= 0 and left + (amount if credit == debit else 0) - more >= 0
        # Whoever pays itself needs the amount for a moment, and has it again after that.
        try:
            assert self.run(self.ledger.post(asked)) == 2
        except Overdraft:
            assert not fits or (credit == debit and left < 0)
            return multiple()
        assert fits or (credit == debit and left + amount - more >= 0)
        self.enter(*asked)
        return multiple(*asked)

    @rule(entry=entries, amount=AMOUNTS)
    def ask_again(self, entry: Transfer, amount: int) -> None:
        assert self.run(self.ledger.post([entry])) == 0
        other = replace(entry, amount=NanoGai(entry.amount + amount))
        try:
            self.run(self.ledger.post([other]))
        except (TransferConflict, Overdraft) as error:
            assert isinstance(error, TransferConflict)  # noqa: PT017
            return
        raise AssertionError("one id for two transfers")

    @rule(
        target=leases,
        payer=PAYERS,
        least=AMOUNTS,
        needed=st.integers(0, 50),
        wanted=st.integers(0, 200),
        stale=st.booleans(),
    )
    def lease(self, payer: AccountId, least: int, needed: int, wanted: int, stale: bool) -> Any:
        name = LeaseId(f"l{self.name()}")
        lender = self.dead if stale else self.live
        wish = Wish(least, least + needed, least + needed + wanted)
        available = self.has[payer] - self.leased(payer)
        [granted] = self.run(lender.extend([Request(name, payer, wish)]))
        if available < least:
            assert granted.lease is None
            return multiple()
        assert granted.lease is not None
        assert min(wish.needed, available) <= granted.lease.amount <= min(wish.wanted, available)
        left = available - granted.lease.amount
        # What is queued for the payer is looked at only where there is less than is wanted.
        known = granted.available + granted.lease.amount
        assert granted.available == left or (granted.available < left and known >= wish.wanted)
        self.lent[name] = ModelLease(payer, granted.lease.amount, stale=stale)
        return name

    @rule(lease=leases, more=st.integers(0, 100))
    def extend(self, lease: LeaseId, more: int) -> None:
        mine = self.lent[lease]
        wanted = mine.amount + more
        available = self.has[mine.payer] - self.leased(mine.payer)
        lender = self.dead if mine.stale else self.live
        for _ in range(2):  # the second time is a retry of the first
            asked = Request(lease, mine.payer, Wish(0, wanted, wanted))
            [granted] = self.run(lender.extend([asked]))
            assert granted.lease is not None
            if mine.state == "open":
                assert granted.lease.amount == mine.amount + min(more, available)
        if mine.state == "open":
            mine.amount += min(more, available)

    @rule(
        target=entries,
        wishes=st.lists(st.tuples(leases, AMOUNTS, AMOUNTS, PAYERS), min_size=1, max_size=5),
        twice=st.booleans(),
    )
    def settle(self, wishes: list[tuple[LeaseId, int, int, AccountId]], twice: bool) -> Any:
        group: list[Receipt] = []
        expected: list[str] = []
        entered: list[Transfer] = []
        for lease, amount, more, payee in wishes:
            mine = self.lent[lease]
            paid = use(self.name(), mine.payer, payee, amount)
            asked = paid, fee(self.name(), mine.payer, more, paid.request_id)
            group.append(receipt(settlement(lease, *asked)))
            fits = mine.state == "open" and amount + more <= mine.amount - mine.settled
            expected.append("entered" if fits else "refused")
            if fits:
                mine.settled += amount + more
                self.enter(*asked)
                entered += asked
        assert self.run(self.ledger.enter(group)) == expected
        if twice:
            again = ["repeated" if each == "entered" else each for each in expected]
            # What was refused for want of room may not slip in now: nothing has come back.
            assert self.run(self.ledger.enter(group)) == again
        return multiple(*entered)

    @rule(lease=consumes(leases))
    def close(self, lease: LeaseId) -> None:
        self.run(self.live.close([lease]))
        self.run(self.live.close([lease]))
        if self.lent[lease].state == "open":
            self.lent[lease].state = "closed"

    @rule()
    def sweep(self) -> None:
        swept = {each.id: each.rest for each in self.run(self.live.sweep())}
        stale = {
            name: each.amount - each.settled
            for name, each in self.lent.items()
            if each.stale and each.state == "open"
        }
        assert swept == stale
        for name in stale:
            self.lent[name].state = "expired"

    @rule()
    def renew(self) -> None:
        open_ones = {name for name, each in self.lent.items() if each.state == "open"}
        alive = {name for name in open_ones if not self.lent[name].stale}
        assert self.run(self.live.renew(alive)) == alive

    @rule()
    def add_queued(self) -> None:
        self.run(project(self.storage, accounts=2))

    @rule()
    def make_again(self) -> None:
        assert self.run(rebuild(self.storage, by=COMMAND_LINE)) == []

    @invariant()
    def balances_agree(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for account in (A, B, C, ISSUANCE):
            balance = self.run(self.ledger.balance(account))
            assert (balance.amount, balance.reserved) == (self.has[account], self.leased(account))

    @invariant()
    def books_are_sound(self) -> None:
        if not hasattr(self, "ledger"):
            return
        seen = self.run(self.ledger.verify())
        assert seen.findings == []
        assert seen.transfers == len(self.known)
        expired = [each for each in self.lent.values() if each.state == "expired"]
        assert seen.unaccounted == sum(each.amount - each.settled for each in expired)
        assert seen.open_leases == sum(each.state == "open" for each in self.lent.values())


@contextmanager
def copied(file: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield sqlite_url(Path(shutil.copy(file, folder)))


@pytest.mark.parametrize("kind", ON_BOTH)
def test_books(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        fresh = partial(copied, request.getfixturevalue("migrated_file"))
        examples = 30
    else:
        server: Server = request.getfixturevalue("postgresql")
        fresh = partial(server.cluster.database, server.template)
        examples = 10

    class OnThis(BooksMachine):
        def __init__(self) -> None:
            super().__init__(fresh)

    run_state_machine_as_test(
        OnThis,
        settings=settings(max_examples=examples, stateful_step_count=30, deadline=None),
    )
