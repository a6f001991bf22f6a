"""Reservations in memory, inside leases on the payers' balances: no request waits for SQL.

What SQL cannot be asked is not promised: when a lease cannot be had or renewed, a request ends in
StorageError. A payer's first request waits for its lease, and so does one that needs more than the
lease has room for; all who wait for the same payer wait for the same call. Who has no grant of this
month yet is given it first, with all others who come then; nobody else waits for that.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Self

import structlog

from garage_ai.ledger.allowance import Allowance, ReservationState
from garage_ai.ledger.books import LeaseId, Settlement
from garage_ai.ledger.errors import InsufficientBalance
from garage_ai.ledger.grants import Granting
from garage_ai.ledger.leases import Granted, Leases, Request, Wish
from garage_ai.ledger.models import AccountId, NanoGai, Transfer, member_account, member_of
from garage_ai.ledger.reservation import Reservation
from garage_ai.ledger.rounds import Payer, Rounds, Waiter
from garage_ai.ledger.spares import Spares
from garage_ai.ledger.usage_writer import End
from garage_ai.storage import MemberId, StorageError, StorageTimeout

_log = structlog.get_logger(__name__)

WAIT_SECONDS: Final = 5.0
"""Longest wait for a lease."""

IDLE_SECONDS: Final = 20.0
"""After so long without a request a payer's lease is given back."""

HOLD_SECONDS: Final = 7200.0
"""After so long a reservation that nobody ended has expired; no request runs for so long."""

TICK_SECONDS: Final = 5.0

PATIENCE_SECONDS: Final = 1.5
"""How long a request waits for what other gateways hold of a balance and do not need."""

AGAIN_SECONDS: Final = 0.25
"""How long between two looks for it."""


class Allowances:
    """What this gateway may promise its payers. All methods belong to the event loop's thread."""

    def __init__(self, leases: Leases, *, grants: Granting | None = None) -> None:
        self.unaccounted = NanoGai(0)
        self._leases = leases
        self._grants = grants
        self._payers: dict[MemberId, Payer] = {}
        self._open: dict[LeaseId, Allowance] = {}
        self._held: dict[Reservation, None] = {}
        self._epoch = 0
        self._returning = asyncio.Lock()
        self._granting = Rounds("grants", self._grant)
        self._lending = Rounds("leases", self._extend)
        self._spares = Spares(self._give_spare)
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, leases: Leases, *, grants: Granting | None = None) -> Self:
        """Start on the running loop; `close` ends it."""
        allowances = cls(leases, grants=grants)
        allowances._task = asyncio.create_task(allowances._run(), name="allowances")
        return allowances

    @property
    def held(self) -> int:
        """Reservations that have not ended."""
        return len(self._held)

    def balance(self, payer: MemberId) -> NanoGai:
        """Tell what a payer has, from memory; nothing of one who has asked for nothing lately."""
        mine = self._payers.get(payer)
        return NanoGai(mine.allowance.balance if mine is not None else 0)

    async def reserve(self, payer: MemberId, amount: NanoGai) -> Reservation:
        """Promise that an amount can be paid; at once while the payer's lease has room.

        Raises: InsufficientBalance, StorageError.
        """
        mine = self._payers.get(payer) or self._new_payer(payer)
        now = asyncio.get_running_loop().time()
        mine.allowance.asked(amount, now)
        if amount <= 0 or (not mine.waiting and mine.allowance.hold(amount, now)):
            if mine.allowance.is_low(now) and not self._is_filled(mine):
                self._fill(mine)
            return self._promise(mine, amount, now)
        return await self._ask(mine, amount, now + PATIENCE_SECONDS)

    async def close(self) -> None:
        """Give the leases back; the writer of what is settled is closed before."""
        self._spares.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._granting.close()
        await self._lending.close()
        # One that is not at rest stays open: what is lost of it is booked when it has expired.
        try:
            await self._give_back([each for each in self._open.values() if each.at_rest])
        except StorageError as error:
            _log.warning("leases_not_given_back", code=error.code)

    def end(
        self,
        reservation: Reservation,
        allowance: Allowance,
        state: ReservationState,
        transfers: Sequence[Transfer],
        total: int,
    ) -> Settlement:
        """End a reservation that is held; `ended` is to be told what became of what it cost."""
        reservation.state = state
        del self._held[reservation]
        settlement = Settlement(allowance.lease, allowance.payer, tuple(transfers))
        allowance.release(reservation.amount, total)
        if transfers:
            allowance.unsettled += 1
        if allowance.is_scarce:
            self._spares.note(allowance)
        return settlement

    def told_too_late(self, amount: int) -> None:
        """Count what was used and cannot be billed."""
        # Logged at the first and then at every doubling: a full disk must not fill itself.
        before, self.unaccounted = self.unaccounted, NanoGai(self.unaccounted + amount)
        if before.bit_length() != self.unaccounted.bit_length():
            _log.error("unaccounted", nano_gai=self.unaccounted)

    def _promise(self, mine: Payer, amount: int, now: float) -> Reservation:
        reservation = Reservation(self, mine.allowance, mine.member, amount, now)
        self._held[reservation] = None
        return reservation

    def ended(self, settlement: Settlement, end: End) -> None:
        """Take what became of a settlement."""
        if end in {"refused", "dropped"}:
            self.told_too_late(settlement.total)
        allowance = self._open.get(settlement.lease)
        if allowance is None:
            raise AssertionError(f"{settlement.lease} was given back before it was settled: {end}")
        if end != "dropped":
            # Its lease is not given back for that: what is lost of it is booked when it expires.
            allowance.unsettled -= 1
        if end == "refused":
            allowance.lost = True

    def _new_payer(self, member: MemberId) -> Payer:
        account = member_account(member)
        mine = self._payers[member] = Payer(member, account, self._new_allowance(account))
        return mine

    def _new_allowance(self, account: AccountId) -> Allowance:
        self._epoch += 1
        allowance = Allowance(LeaseId(f"{self._leases.gateway}.{self._epoch}"), account)
        self._open[allowance.lease] = allowance
        return allowance

    async def _ask(self, mine: Payer, amount: int, until: float) -> Reservation:
        """Wait for more of the lease, and a while for what other gateways have of the balance."""
        now = asyncio.get_running_loop().time
        while not mine.allowance.is_hopeless(amount, now()):
            try:
                return await self._wait(mine, amount)
            except InsufficientBalance:
                if now() >= until or not mine.allowance.may_come(amount):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)
        raise InsufficientBalance(mine.account, mine.allowance.spendable)

    async def _wait(self, mine: Payer, amount: int) -> Reservation:
        waiter = Waiter(amount, asyncio.get_running_loop().create_future())
        mine.waiting.append(waiter)
        self._fill(mine)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await waiter.future
        except BaseException as error:
            done = waiter.future.done() and not waiter.future.cancelled()
            if done and waiter.future.exception() is None:
                waiter.future.result().void()  # granted to whom nobody waits for any more
            if isinstance(error, TimeoutError):
                raise StorageTimeout(f"no lease within {WAIT_SECONDS:g} s") from error
            raise
        finally:
            if waiter in mine.waiting:
                mine.waiting.remove(waiter)

    def _give_spare(self, allowance: Allowance) -> None:
        member = member_of(allowance.payer)
        mine = self._payers.get(member) if member is not None else None
        if mine is not None and mine.allowance is allowance:
            mine.spare = True
            self._fill(mine)

    def _fill(self, mine: Payer) -> None:
        """Lease what is missing: one call for all who are there when it begins."""
        has_grant = self._grants is None or self._grants.has(mine.member)
        (self._lending if has_grant else self._granting).put(mine)

    def _is_filled(self, mine: Payer) -> bool:
        """Tell whether more is on its way, or will be asked for in the next round."""
        return mine in self._lending or mine in self._granting

    async def _grant(self, short: Sequence[Payer]) -> None:
        if self._grants is not None:
            await self._grants.give(*[mine.member for mine in short])
        for mine in short:
            self._lending.put(mine)

    async def _extend(self, short: Sequence[Payer]) -> None:
        loop = asyncio.get_running_loop()
        async with self._returning:
            pass  # what is on its way back is asked for when it is there
        asked = loop.time()
        waiting = [[*mine.waiting] for mine in short]
        requests = []
        for mine, those in zip(short, waiting, strict=True):
            if mine.allowance.lost:
                mine.allowance = self._new_allowance(mine.account)
            spare, mine.spare = mine.spare and not those, False
            wish = mine.allowance.spare() if spare else mine.allowance.wish(_amounts(those), asked)
            requests.append(Request(mine.allowance.lease, mine.account, wish))
        granted = await self._leases.extend(requests)
        for mine, those, request, each in zip(short, waiting, requests, granted, strict=True):
            if self._take(mine.allowance, request.wish, each, asked):
                self._serve(mine, those)
            if mine.waiting:
                self._lending.put(mine)

    def _take(self, allowance: Allowance, wish: Wish, granted: Granted, asked: float) -> bool:
        """Take note of a lease as it is now; False for one that has ended."""
        lease = granted.lease
        if lease is not None and lease.state != "open":
            self._lose(allowance)
            return False
        now = asyncio.get_running_loop().time()
        allowance.extended(granted, wish, asked + self._leases.seconds, now)
        return True

    def _serve(self, mine: Payer, waiting: Sequence[Waiter]) -> None:
        """Answer those who waited for a call, in the order in which they came."""
        now = asyncio.get_running_loop().time()
        for waiter in waiting:
            if waiter in mine.waiting:
                mine.waiting.remove(waiter)
            if waiter.future.done():
                continue
            if mine.allowance.hold(waiter.amount, now):
                waiter.future.set_result(self._promise(mine, waiter.amount, now))
            else:
                most = mine.allowance.spendable
                waiter.future.set_exception(InsufficientBalance(mine.account, most))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(TICK_SECONDS, self._leases.seconds / 8))
            try:
                await self.tick()
            except StorageError as error:
                _log.warning("leases_not_renewed", code=error.code)
            except Exception:  # without renewals every lease of this gateway would end
                _log.exception("leases_not_renewed")

    async def tick(self) -> None:
        """Renew what is in use and give back what is not. Raises: StorageError."""
        now = asyncio.get_running_loop().time()
        for reservation in list(self._held):
            if reservation.since > now - HOLD_SECONDS:
                break
            _log.error("reservation_expired", amount=reservation.amount)
            reservation.expire()
        # What is used goes first: giving back may fail, and can wait.
        await self._renew(now)
        await self._give_back(self._idle(now))

    def _idle(self, now: float) -> list[Allowance]:
        """Take payers out who have not asked for long, with their leases."""
        idle = [
            mine
            for mine in self._payers.values()
            if mine.allowance.at_rest
            and not self._is_filled(mine)
            and not mine.waiting
            and now - mine.allowance.used_at > IDLE_SECONDS
        ]
        for mine in idle:
            del self._payers[mine.member]
        gone = {mine.allowance.lease for mine in self._payers.values()}
        return [each for each in self._open.values() if each.lease not in gone and each.at_rest]

    async def _give_back(self, unused: Sequence[Allowance]) -> None:
        async with self._returning:
            # Also one that was never seen: the answer that it was leased may have been lost. And
            # one that refused a settlement, which may be open all the same: nobody else does it.
            if unused:
                await self._leases.close([each.lease for each in unused])
            for allowance in unused:
                self._open.pop(allowance.lease, None)

    async def _renew(self, now: float) -> None:
        soon = now + self._leases.seconds / 2
        ageing = [
            each
            for each in self._open.values()
            if each.is_leased and not each.lost and each.valid_until < soon
        ]
        if not ageing:
            return
        held = await self._leases.renew([each.lease for each in ageing])
        for allowance in ageing:
            if allowance.lease in held:
                allowance.valid_until = now + self._leases.seconds
            else:
                self._lose(allowance)

    def _lose(self, allowance: Allowance) -> None:
        _log.warning("lease_lost", lease=allowance.lease)
        allowance.lost = True


def _amounts(waiting: Sequence[Waiter]) -> list[int]:
    return [each.amount for each in waiting]


__all__ = ["HOLD_SECONDS", "IDLE_SECONDS", "WAIT_SECONDS", "Allowances"]
