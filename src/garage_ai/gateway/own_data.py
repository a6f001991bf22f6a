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
    KeyRing,
    MemberId,
    Members,
    Nodes,
)
from garage_ai.audit.models import Recorded
from garage_ai.audit.service import AuditLog, Wanted
from garage_ai.gateway.batch_services import Batches, Files
from garage_ai.ledger import Ledger, Transfer, member_account
from garage_ai.ledger.proxied import Mappings, ProxiedCalls
from garage_ai.storage import Storage, usage_list

PAGE: Final = 500

_encoder: Final = msgspec.json.Encoder()

Part = Callable[[MemberId], Awaitable[Sequence[object]]]


class StoredData:
    """Members' data as the database has it."""

    def __init__(self, storage: Storage, keys: KeyRing, files: Files, batches: Batches) -> None:
        self._storage = storage
        self._files = files
        self._batches = batches
        self._keys = keys
        self._members = Members(storage)
        self._tokens = EnrolmentTokens(storage)
        self._nodes = Nodes(storage)
        self._claims = ExternalModels(storage)
        self._benchmarks = Benchmarks(storage)
        self._ledger = Ledger(storage)
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
        }
        for name, read in parts.items():
            yield f',"{name}":'.encode() + _encoder.encode(await read(member))
        yield b',"usage":['
        async for piece in _joined(self._usage(member)):
            yield piece
        yield b'],"litellm":['
        async for piece in _joined(self._proxied(member)):
            yield piece
        yield b'],"files":['
        async for piece in _joined(self._own_files(member)):
            yield piece
        yield b'],"batches":['
        async for piece in _joined(self._own_batches(member)):
            yield piece
        yield b'],"ledger":['
        async for piece in _joined(self._entries(member)):
            yield piece
        yield b'],"audit":['
        async for piece in _joined(self._acts(member)):
            yield piece
        yield b"]}\n"

    async def _all_nodes(self, member: MemberId) -> Sequence[object]:
        return [
            *await self._nodes.list(of=member),
            *await self._nodes.list(of=member, removed=True),
        ]

    async def _claimed(self, member: MemberId) -> Sequence[object]:
        return [claim for claim in await self._claims.list() if claim.member == member]

    async def _mapped(self, member: MemberId) -> Sequence[object]:
        return [each for each in await self._mappings.list() if each.member == member]

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
        page: list[object] = []
        async for entry in self._ledger.entries(member_account(member)):
            page.append(_entry(entry))
            if len(page) == PAGE:
                yield page
                page = []
        yield page

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


def _entry(transfer: Transfer) -> object:
    """Write an entry of the books; amounts are text, as everywhere."""
    return msgspec.to_builtins(transfer) | {"amount": str(transfer.amount)}


def _readable(entry: Recorded) -> object:
    return msgspec.to_builtins(entry, builtin_types=(bytes,)) | {"hash": entry.hash.hex()}


__all__ = ["StoredData"]
