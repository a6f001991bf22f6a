"""What nodes measured of themselves: their own word, kept as it was signed."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Row, Select, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.audit.models import Clock, utc_now
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import benchmarks, nodes
from garage_ai.wire.benchmarks import Benchmark, SignedBenchmark, decode_benchmark
from garage_ai.wire.ids import NodeId

KEPT: Final = 20
"""Of each node; the oldest go."""


@dataclass(frozen=True, slots=True)
class NodeBenchmark:
    """A measurement, and when the network heard of it."""

    node: NodeId
    received_at: datetime
    benchmark: Benchmark


class Benchmarks:
    """The measurements of this network's nodes."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock

    async def record(self, signed: SignedBenchmark, public_key: str) -> NodeBenchmark:
        """Keep a measurement whose signature was checked; the same again changes nothing.

        Raises: ConstraintViolated when there is no such node, StorageError.
        """
        digest = hashlib.sha256(signed.body.encode()).digest()
        async with self._storage.write(in_turn=True) as connection:
            mine = benchmarks.c.node_id == signed.node
            known = select(benchmarks).where(mine, benchmarks.c.body_digest == digest)
            row = (await connection.execute(known)).first()
            if row is not None:
                return _benchmark(row)
            await connection.execute(
                insert(benchmarks).values(
                    node_id=signed.node,
                    received_at=self._clock(),
                    body_digest=digest,
                    body=signed.body,
                    nonce=signed.nonce,
                    signature=signed.signature,
                    public_key=public_key,
                )
            )
            await _let_old_ones_go(connection, signed.node)
            return _benchmark((await connection.execute(known)).one())

    async def latest(
        self, among: Collection[NodeId] | None = None, *, member: MemberId | None = None
    ) -> Mapping[NodeId, NodeBenchmark]:
        """Give the newest of every node that has one: of all, of some, or of a member's.

        Raises: StorageError.
        """
        newest = select(func.max(benchmarks.c.seq)).group_by(benchmarks.c.node_id)
        if among is not None:
            newest = newest.where(benchmarks.c.node_id.in_(among))
        if member is not None:
            newest = newest.where(benchmarks.c.node_id.in_(_of(member)))
        async with self._storage.read() as connection:
            rows = await connection.execute(select(benchmarks).where(benchmarks.c.seq.in_(newest)))
            return {NodeId(row.node_id): _benchmark(row) for row in rows}

    async def of_member(self, member: MemberId) -> list[NodeBenchmark]:
        """Give all that is kept of a member's nodes, oldest first. Raises: StorageError."""
        mine = benchmarks.c.node_id.in_(_of(member))
        kept = select(benchmarks).where(mine).order_by(benchmarks.c.seq)
        async with self._storage.read() as connection:
            return [_benchmark(row) for row in await connection.execute(kept)]


def _of(member: MemberId) -> Select[tuple[str]]:
    return select(nodes.c.id).where(nodes.c.member_id == member)


async def _let_old_ones_go(connection: AsyncConnection, node: NodeId) -> None:
    mine = benchmarks.c.node_id == node
    newest = select(benchmarks.c.seq).where(mine).order_by(benchmarks.c.seq.desc()).limit(KEPT)
    kept = [row.seq for row in await connection.execute(newest)]
    await connection.execute(delete(benchmarks).where(mine, benchmarks.c.seq < kept[-1]))


def _benchmark(row: Row[tuple[object, ...]]) -> NodeBenchmark:
    fields = row._asdict()
    return NodeBenchmark(
        NodeId(fields["node_id"]), fields["received_at"], decode_benchmark(fields["body"])
    )


__all__ = ["KEPT", "Benchmarks", "NodeBenchmark"]
