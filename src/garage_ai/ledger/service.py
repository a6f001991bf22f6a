"""The ledger in SQL: transfers are entered once and for good, whoever asks and however often."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import func, select

from garage_ai.audit.models import Action, Actor, Detail, Entry
from garage_ai.audit.service import AuditLog
from garage_ai.ledger.books import Books, Outcome, Receipt, Settlement, Sums, payers_of
from garage_ai.ledger.errors import InvalidTransfer, LedgerError, TransferConflict
from garage_ai.ledger.models import AccountId, NanoGai, Transfer, member_of
from garage_ai.ledger.pages import (
    Collision,
    Inserts,
    absorb,
    lock,
    read_known,
    read_leases,
    transfer_of,
    write_books,
)
from garage_ai.ledger.rules import check_transfer
from garage_ai.ledger.verification import Verification, stream_transfers, verify
from garage_ai.storage import (
    Change,
    DatabaseLocked,
    Storage,
    UsageRecord,
    UsageRows,
    recorded,
)
from garage_ai.storage.tables import balances, queued_entries, transfers

_log = structlog.get_logger(__name__)

MAX_LISTED: Final = 1000
"""Most entries on one page of a statement."""

_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has in nGAI; `reserved` of it is promised to requests that may still run."""

    account: AccountId
    amount: NanoGai
    reserved: NanoGai

    @property
    def available(self) -> NanoGai:
        """What can still be spent."""
        return NanoGai(self.amount - self.reserved)


@dataclass(frozen=True, slots=True)
class Statement:
    """Some transfers of an account, newest first; `before` asks for the next page."""

    account: AccountId
    transfers: tuple[Transfer, ...]
    before: int | None


class Ledger:
    """Accounts, and the transfers between them.

    What a call returned is on the disk. After StorageTimeout nobody knows; asking again with the
    same ids is always right.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._inserts = Inserts.of(storage)
        self._usage = UsageRows(storage)
        self._verifying = asyncio.Lock()

    async def post(self, transfers: Sequence[Transfer], *, by: Actor | None = None) -> int:
        """Enter transfers, all or none; give how many were new.

        In the order given, none may take more than its account has then. What was entered before
        under the same id with the same content is passed over. Where somebody does it, the log of
        acts tells who. Raises: InvalidTransfer, TransferConflict, Overdraft, StorageError.
        """
        for transfer in transfers:
            check_transfer(transfer)
        for _ in range(_TRIES):
            try:
                return await self._post(transfers, by)
            except Collision:
                continue
        raise DatabaseLocked("others enter the same transfers at the same time")

    async def enter(self, receipts: Sequence[Receipt]) -> list[Outcome]:
        """Enter what requests used and cost, in one transaction; tell in order what became of each.

        A request is recorded once. Of one whose lease is no longer open for what it cost, the
        record alone is kept, without a charge. Raises: StorageError.
        """
        # All are good and new but for an odd one now and then, so nothing is read at first.
        with suppress(InvalidTransfer, TransferConflict):
            if await self._storage.write_exactly(self.changes(receipts)):
                return ["entered"] * len(receipts)
        for _ in range(_TRIES):
            try:
                return await self._enter(receipts)
            except Collision:
                continue
        raise DatabaseLocked("others enter the same requests at the same time")

    def changes(self, receipts: Sequence[Receipt]) -> list[Change]:
        """Say what receipts enter, for one transaction with what they are of.

        `Storage.write_exactly` writes none of it where one is entered already, or its lease is not
        open for it. Raises: InvalidTransfer, TransferConflict, ValueRefused.
        """
        settlements = [each.settlement for each in receipts if each.settlement is not None]
        used = self._usage.change([each.record for each in receipts])
        return [*self._inserts.changes(Sums.of(settlements)), used]

    async def balance(self, account: AccountId) -> Balance:
        """Tell what an account has; nothing for one that never was. Raises: StorageError."""
        queued = select(func.coalesce(func.sum(queued_entries.c.amount), 0)).where(
            queued_entries.c.account == account
        )
        row = select(balances.c.amount, balances.c.leased).where(balances.c.account == account)
        async with self._storage.read() as connection:
            waiting = int((await connection.execute(queued)).scalar_one())
            found = (await connection.execute(row)).one_or_none()
        amount, leased = found if found is not None else (0, 0)
        return Balance(account, NanoGai(amount + waiting), NanoGai(leased))

    async def statement(
        self, account: AccountId, limit: int = 100, before: int | None = None
    ) -> Statement:
        """List the transfers of an account, newest first.

        `limit` is cut to 1..MAX_LISTED; `before` is the last page's. Raises: StorageError.
        """
        limit = min(max(limit, 1), MAX_LISTED)
        rows = {}
        async with self._storage.read() as connection:
            for side in (transfers.c.debit, transfers.c.credit):
                page = select(transfers).where(side == account).limit(limit + 1)
                if before is not None:
                    page = page.where(transfers.c.seq < before)
                for row in await connection.execute(page.order_by(transfers.c.seq.desc())):
                    rows[row.seq] = row
        newest = sorted(rows, reverse=True)
        listed = newest[:limit]
        return Statement(
            account,
            tuple(transfer_of(rows[seq]) for seq in listed),
            listed[-1] if len(newest) > limit else None,
        )

    async def verify(self) -> Verification:
        """Check the whole books. Raises: StorageError."""
        # One at a time: each takes one of the few readers for as long as it looks.
        async with self._verifying:
            return await verify(self._storage)

    def entries(self, account: AccountId | None = None) -> AsyncIterator[Transfer]:
        """Give all transfers, or those of one account, oldest first, few in memory at a time.

        Raises: StorageError.
        """
        return stream_transfers(self._storage, account)

    async def _post(self, asked: Sequence[Transfer], by: Actor | None) -> int:
        payers = payers_of(asked)
        async with self._storage.write(in_turn=by is not None) as connection:
            before = await lock(self._storage, connection, payers)
            positions = dict(before)
            await absorb(connection, positions, payers)
            known = await read_known(connection, (transfer.id for transfer in asked))
            books = Books(positions, known=known)
            entered = books.post(asked)
            await write_books(connection, self._inserts, books, before, {})
            if by is not None:
                log = AuditLog(self._storage)
                for transfer in asked:
                    if transfer.id not in known:
                        await log.record(connection, _act(transfer, by))
        return entered

    async def _enter(self, receipts: Sequence[Receipt]) -> list[Outcome]:
        settlements = [each.settlement for each in receipts if each.settlement is not None]
        payers = sorted({settlement.payer for settlement in settlements})
        async with self._storage.write() as connection:
            before = await lock(self._storage, connection, payers)
            leases = await read_leases(connection, {each.lease for each in settlements})
            ids = (transfer.id for each in settlements for transfer in each.transfers)
            known = await read_known(connection, ids)
            requests = await recorded(connection, [each.record.request_id for each in receipts])
            books = Books(dict(before), dict(leases), known)
            outcomes, records = _entered(books, receipts, requests)
            if await self._usage.add(connection, records) != len(records):
                raise Collision
            await write_books(connection, self._inserts, books, before, leases)
        return outcomes


def _act(transfer: Transfer, by: Actor) -> Entry:
    """Say who entered a transfer; its reason stands in the books alone."""
    details: dict[str, Detail] = {
        "kind": transfer.kind,
        "debit": transfer.debit,
        "credit": transfer.credit,
        "amount": str(transfer.amount),
    }
    owners = (member_of(account) for account in (transfer.credit, transfer.debit))
    member = next((owner for owner in owners if owner is not None), None)
    return Entry(Action.LEDGER_ADJUSTED, by, transfer.id, member, details)


def _entered(
    books: Books, receipts: Sequence[Receipt], recorded: set[str]
) -> tuple[list[Outcome], list[UsageRecord]]:
    """Enter receipts one after another; give what became of each, and the records that are new."""
    outcomes: list[Outcome] = []
    records: list[UsageRecord] = []
    for receipt in receipts:
        if receipt.record.request_id in recorded:
            outcomes.append(_repeated(books, receipt.settlement))
            continue
        recorded.add(receipt.record.request_id)
        outcomes.append(_outcome(books, receipt.settlement))
        kept = receipt.unbilled() if outcomes[-1] == "refused" else receipt
        records.append(kept.record)
    return outcomes, records


def _repeated(books: Books, settlement: Settlement | None) -> Outcome:
    """Tell what became of a request that has its record: what is not entered now never will be."""
    asked = () if settlement is None else settlement.transfers
    is_entered = all(each.id in books.known or each.id in books.entered for each in asked)
    return "repeated" if is_entered else "refused"


def _outcome(books: Books, settlement: Settlement | None) -> Outcome:
    if settlement is None:
        return "entered"
    try:
        return books.settle(settlement)
    except LedgerError as error:
        _log.error("settlement_refused", lease=settlement.lease, code=error.code)
        return "refused"


__all__ = ["MAX_LISTED", "Balance", "Ledger", "Statement"]
