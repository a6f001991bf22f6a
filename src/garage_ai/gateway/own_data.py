"""All that is kept of a member, written as one JSON object while it is read.

No transaction is held over the writing: usage, entries of the books and acts are read page by page.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec

from garage_ai.accounts import (
    Benchmarks,
    EnrolmentTokens,
    ExternalModels,
    Invites,
    KeyId,
    KeyRing,
    LimitBook,
    MemberId,
    Members,
    Node,
    Nodes,
    StoredPools,
)
from garage_ai.accounts.limit_models import subject_of
from garage_ai.audit.models import Recorded
from garage_ai.audit.service import AuditLog, Wanted
from garage_ai.gateway.batch_services import Batches, Files
from garage_ai.gateway.coordination.limit_schemas import LimitsGiven, UsedGiven
from garage_ai.ledger import AccountId, Ledger, Transfer, escrow_account, member_account
from garage_ai.ledger.beside import Beside, DecidedReward, KeptLease, Unaccounted
from garage_ai.ledger.proxied import Mappings, ProxiedCalls
from garage_ai.ledger.warmth import WarmHours
from garage_ai.storage import Storage, usage_list

PAGE: Final = 500

_AMOUNTS: Final = frozenset({"amount", "settled"})

_encoder: Final = msgspec.json.Encoder()

Part = Callable[[MemberId], Awaitable[Sequence[object]]]
Pages = Callable[[MemberId], AsyncIterator[Sequence[object]]]


class StoredData:
    """Members' data as the database has it."""

    def __init__(
        self, storage: Storage, keys: KeyRing, limits: LimitBook, files: Files, batches: Batches
    ) -> None:
        self._storage = storage
        self._files = files
        self._batches = batches
        self._keys = keys
        self._limits = limits
        self._pools = StoredPools(storage)
        self._invites = Invites(storage)
        self._members = Members(storage)
        self._tokens = EnrolmentTokens(storage)
        self._nodes = Nodes(storage)
        self._claims = ExternalModels(storage)
        self._benchmarks = Benchmarks(storage)
        self._ledger = Ledger(storage)
        self._beside = Beside(storage)
        self._warm = WarmHours(storage)
        self._audit = AuditLog(storage)
        self._mappings = Mappings(storage)
        self._proxied_calls = ProxiedCalls(storage)

    async def export(self, member: MemberId) -> AsyncIterator[bytes]:
        """Write all of it. Raises: MemberNotFound, StorageError."""
        yield b'{"member":' + _encoder.encode(await self._members.get(member))
        parts: dict[str, Part] = {
            "keys": self._keys.list,
            "tokens": self._tokens.list,
            "nodes": self._all_nodes,
            "benchmarks": self._benchmarks.of_member,
            "models": self._claimed,
            "mappings": self._mapped,
            "invites": self._invites.given_by,
            "invited": self._invites.taken_by,
            "limits": self._limited,
            "warm_hours": self._warm.of_member,
        }
        for name, read in parts.items():
            yield f',"{name}":'.encode() + _encoder.encode(await read(member))
        long: dict[str, Pages] = {
            "usage": self._usage,
            "litellm": self._proxied,
            "files": self._own_files,
            "batches": self._own_batches,
            "ledger": self._entries,
            "rewards": self._rewards,
            "leases": self._leases,
            "unaccounted": self._unaccounted,
            "audit": self._acts,
        }
        for name, pages in long.items():
            yield f',"{name}":['.encode()
            async for piece in _joined(pages(member)):
                yield piece
            yield b"]"
        yield b"}\n"

    async def _all_nodes(self, member: MemberId) -> Sequence[Node]:
        return [
            *await self._nodes.list(of=member),
            *await self._nodes.list(of=member, removed=True),
        ]

    async def _claimed(self, member: MemberId) -> Sequence[object]:
        return [claim for claim in await self._claims.list() if claim.member == member]

    async def _mapped(self, member: MemberId) -> Sequence[object]:
        return [each for each in await self._mappings.list() if each.member == member]

    async def _limited(self, member: MemberId) -> Sequence[object]:
        """Give the limits of the member and its keys, and what of them is used."""
        found: list[object] = []
        owners: list[KeyId | MemberId] = [
            member,
            *(key.id for key in await self._keys.list(member)),
        ]
        for owner in owners:
            limits = self._limits.of(owner)
            used = await self._pools.used(subject_of(owner))
            if used or not limits.is_empty:
                shown = {"limits": LimitsGiven.of(limits), "used": UsedGiven.of(used)}
                told = {name: each.model_dump() for name, each in shown.items()}
                found.append({"of": owner} | told)
        return found

    async def _proxied(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        after = 0
        while found := await self._proxied_calls.of_member(member, after, PAGE):
            yield found
            after = found[-1].seq

    async def _usage(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        before: int | None = None
        while True:
            page = await usage_list(self._storage, PAGE, before, member=member)
            yield page.records
            before = page.before
            if before is None:
                return

    async def _own_files(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        after: str | None = None
        while True:
            page = await self._files.list(member, PAGE, after)
            yield page.files
            if not page.has_more:
                return
            after = page.files[-1].id

    async def _own_batches(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        after: str | None = None
        while True:
            page = await self._batches.list(member, PAGE, after)
            yield page.batches
            if not page.has_more:
                return
            after = page.batches[-1].id

    async def _entries(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        """Give the member's entries, then those of what is held back of its nodes."""
        own, *held = await self._accounts(member)
        page: list[object] = []
        for account in (own, *held):
            async for entry in self._ledger.entries(account):
                if account != own and own in (entry.debit, entry.credit):
                    continue  # it stands among the member's
                page.append(_with_amounts(entry))
                if len(page) == PAGE:
                    yield page
                    page = []
        yield page

    async def _accounts(self, member: MemberId) -> Sequence[AccountId]:
        """Name the member's account, and those that hold back what its nodes earned."""
        own = await self._all_nodes(member)
        return [member_account(member), *(escrow_account(node.id) for node in own)]

    async def _rewards(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        own, *held = await self._accounts(member)
        for account in (own, *held):
            after = ""
            while found := await self._beside.rewards(account, after, PAGE):
                # What was released to the member stands among its own.
                new = [each for each in found if account == own or each.credit != own]
                yield [_with_amounts(each) for each in new]
                after = found[-1].id

    async def _leases(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        after = ""
        while found := await self._beside.leases(member_account(member), after, PAGE):
            yield [_with_amounts(each) for each in found]
            after = found[-1].id

    async def _unaccounted(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        after = ""
        while found := await self._beside.unaccounted(member_account(member), after, PAGE):
            yield [_with_amounts(each) for each in found]
            after = found[-1].lease

    async def _acts(self, member: MemberId) -> AsyncIterator[Sequence[object]]:
        after, wanted = 0, Wanted(member=member)
        while found := await self._audit.following(after, PAGE, wanted):
            yield [_readable(entry) for entry in found]
            after = found[-1].seq


async def _joined(pages: AsyncIterator[Sequence[object]]) -> AsyncIterator[bytes]:
    """Write the pages' items as those of one list."""
    first = True
    async for page in pages:
        if page:
            items = _encoder.encode(page)[1:-1]
            yield items if first else b"," + items
            first = False


def _with_amounts(row: Transfer | DecidedReward | KeptLease | Unaccounted) -> object:
    """Write a row of the books; amounts are text, as everywhere."""
    fields = msgspec.to_builtins(row)
    return fields | {name: str(fields[name]) for name in _AMOUNTS & fields.keys()}


def _readable(entry: Recorded) -> object:
    return msgspec.to_builtins(entry, builtin_types=(bytes,)) | {"hash": entry.hash.hex()}


__all__ = ["StoredData"]
