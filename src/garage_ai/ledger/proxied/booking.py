"""Pass on what a proxy paid to the members whose calls it took.

The proxy's own member pays for every request, as anybody's; what it paid for a mapped member's
call is then transferred from that member to it, to the nGAI. An unmapped call stays with the proxy
until a mapping comes. Who comes by a proxy alone is given the month's grant as well.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final, NamedTuple, Protocol

import structlog
from sqlalchemy import exists, func, or_, select, union_all, update

from garage_ai.audit.models import Clock, utc_now
from garage_ai.ledger.errors import LedgerError, Overdraft
from garage_ai.ledger.grants import Before, no_grants
from garage_ai.ledger.models import Kind, NanoGai, Transfer, member_account
from garage_ai.ledger.proxied.calls import BOOKED, NOTHING, WAITING
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import litellm_calls, litellm_payer, usage

_log = structlog.get_logger(__name__)

LOOK: Final = 1000
"""Calls that wait of which one look reads: as many of the oldest, in turn, and of the newest."""
EVERY_SECONDS: Final = 5.0

RETRIED: Final = timedelta(minutes=30)
"""How long a call that cost nothing may yet cost something. LiteLLM tells of the first attempt that
fails, and tries again, or another model, under the same id; each has ten minutes."""


class Books(Protocol):
    """What passing on needs of the ledger."""

    async def post(self, transfers: Sequence[Transfer]) -> int:
        """Enter transfers, each id once. Raises: LedgerError."""
        ...


class _Waiting(NamedTuple):
    seq: int
    call_id: str
    proxy: MemberId
    request_id: str
    at: datetime
    charge: int | None
    payer: MemberId
    place: int


class Booker:
    """Books what waits, again and again; any number of gateways may do it at the same time."""

    def __init__(
        self,
        storage: Storage,
        books: Books,
        *,
        before: Before = no_grants,
        clock: Clock = utc_now,
    ) -> None:
        self._storage = storage
        self._books = books
        self._before = before
        self._clock = clock
        self._after = 0
        self._poor: set[MemberId] = set()
        self._told: set[MemberId] = set()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look again soon: calls or a mapping came."""
        self._wake.set()

    async def run(self) -> None:
        """Book until cancelled; what fails is tried again."""
        while True:
            try:
                await self.book()
            except Exception as error:  # the loop outlives whatever one call does to it
                _log.warning("passing_on_delayed", error=type(error).__name__)
            try:
                await asyncio.wait_for(self._wake.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue
            self._wake.clear()

    async def book(self) -> int:
        """Pass on what can be until a look finds nothing to; tell how many. Raises: StorageError.

        A call to which nobody is mapped waits for as long as it takes, so any number may wait: each
        look reads the next of them, begins anew behind the last, and does not let the newest wait.
        """
        booked = 0
        while found := await self._look():
            booked += found
        return booked

    async def _look(self) -> int:
        """Pass on what can be of some calls; tell how many."""
        last, newest = await self._places()
        booked = await self._book(await self._waiting(self._after, last))
        if newest is not None:
            booked += await self._book(await self._waiting(newest - 1, None))
            self._after = last
            return booked
        for payer in self._poor - self._told:
            _log.warning("passing_on_waits_for_a_balance", member=payer)
        self._after, self._told, self._poor = 0, self._poor, set()
        return booked

    async def _book(self, rows: Sequence[_Waiting]) -> int:
        booked = 0
        for row in _deciding(rows):
            if row.payer in self._poor:
                continue  # behind a call that waits for a balance
            try:
                booked += await self._pass_on(row)
            except Overdraft:
                self._poor.add(row.payer)
        return booked

    async def _places(self) -> tuple[int, int | None]:
        """Give where the next calls end, and where the newest behind those begin, if there are."""
        waiting = select(litellm_calls.c.seq).where(litellm_calls.c.state == WAITING)
        seq = litellm_calls.c.seq
        async with self._storage.read() as connection:
            page = waiting.where(seq > self._after).order_by(seq).limit(LOOK).subquery()
            last = await connection.scalar(select(func.max(page.c.seq))) or self._after
            page = waiting.where(seq > last).order_by(seq.desc()).limit(LOOK).subquery()
            return last, await connection.scalar(select(func.min(page.c.seq)))

    async def _waiting(self, after: int, last: int | None) -> Sequence[_Waiting]:
        """Give calls whose request and member are known, oldest first; up to `last`, if given."""
        table = litellm_calls
        pairs = select(
            table.c.seq.label("number"),
            table.c.call_id,
            table.c.proxy_id,
            usage.c.request_id,
            usage.c.at,
            usage.c.charge,
            litellm_payer,
            usage.c.seq.label("place"),
        ).where(
            usage.c.member_id == table.c.proxy_id,
            table.c.state == WAITING,
            table.c.seq > after,
            litellm_payer.is_not(None),
            or_(usage.c.charge > 0, table.c.received_at <= self._clock() - RETRIED),
        )
        if last is not None:
            pairs = pairs.where(table.c.seq <= last)
        # A request that bears a call's id is that call's, whatever another call says; one that
        # bears none is the first call's that names it.
        earlier = table.alias()
        named_before = exists().where(
            earlier.c.request_id == usage.c.request_id,
            earlier.c.proxy_id == table.c.proxy_id,
            earlier.c.seq < table.c.seq,
        )
        # Each by its own index: asked for as one they would read all of the proxy's usage.
        found = union_all(
            pairs.where(usage.c.caller_id == table.c.call_id),
            pairs.where(
                usage.c.request_id == table.c.request_id, usage.c.caller_id.is_(None), ~named_before
            ),
        )
        async with self._storage.read() as connection:
            in_turn = found.selected_columns.number, found.selected_columns.place
            return [_Waiting(*row) for row in await connection.execute(found.order_by(*in_turn))]

    async def _pass_on(self, row: _Waiting) -> bool:
        """Pass one call on, if there is anything to. Raises: Overdraft, StorageError."""
        if row.payer == row.proxy or not row.charge:
            await self._note(row.seq, NOTHING, None, None)
            return False
        await self._before(row.payer)
        # Who pays is written down first: a mapping that changes meanwhile makes no second transfer.
        await self._note(row.seq, WAITING, row.payer, row.charge)
        try:
            await self._books.post([_transfer(row, NanoGai(row.charge))])
        except LedgerError as error:
            await self._note(row.seq, WAITING, None, None)
            if isinstance(error, Overdraft):
                raise
            _log.warning("not_passed_on", call=row.call_id, error=error.code)
            return False
        await self._note(row.seq, BOOKED, row.payer, row.charge)
        return True

    async def _note(
        self, seq: int, state: str, member: MemberId | None, amount: int | None
    ) -> None:
        table = litellm_calls
        async with self._storage.write() as connection:
            await connection.execute(
                update(table)
                .where(table.c.seq == seq, table.c.state == WAITING)
                .values(state=state, booked_to=member, booked=amount)
            )


def _deciding(rows: Sequence[_Waiting]) -> Iterator[_Waiting]:
    """Give of each call the first request that cost something, or the first where none did."""
    for _, requests in groupby(rows, key=lambda row: row.seq):
        found = [*requests]
        yield next((row for row in found if row.charge), found[0])


def _transfer(row: _Waiting, amount: NanoGai) -> Transfer:
    """Make the transfer; made again it is the same to the last field."""
    return Transfer(
        id=f"litellm:{row.call_id}",
        kind=Kind.PASSED_ON,
        debit=member_account(row.payer),
        credit=member_account(row.proxy),
        amount=amount,
        at=row.at,
        request_id=row.request_id,
    )


__all__ = ["Booker", "Books"]
