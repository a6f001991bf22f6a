"""Nodes whose engines' token figures are off: told to the log of acts, and left out of stipends.

A judge of figures is one gateway's, and in memory. What it finds reaches the others through the
log; there a flag holds for a day, since a gateway that has ended clears nothing any more.
"""

import json
from collections.abc import Set
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from garage_ai.audit.models import GATEWAY, Action, Clock, Detail, Entry, utc_now
from garage_ai.audit.service import AuditLog, Wanted
from garage_ai.ledger.figures import FigureJudge, Pair
from garage_ai.storage import Storage
from garage_ai.storage.tables import nodes
from garage_ai.wire.ids import NodeId

HOLDS: Final = timedelta(hours=24)
"""How long a flag of another gateway holds if it is not cleared."""

_ACTIONS: Final = (Action.NODE_FLAGGED, Action.NODE_CLEARED)


class Flags:
    """The flags of all gateways, as this one knows them."""

    def __init__(
        self, storage: Storage, judge: FigureJudge, gateway: str, clock: Clock = utc_now
    ) -> None:
        self._storage = storage
        self._judge = judge
        self._gateway = gateway
        self._log = AuditLog(storage, clock)
        self._clock = clock
        self._told: set[Pair] = set()
        self._elsewhere: dict[tuple[str, Pair], datetime] = {}
        self._read: int | None = None

    @property
    def nodes(self) -> Set[NodeId]:
        """The nodes that are flagged now."""
        since = self._clock() - HOLDS
        others = {NodeId(pair[0]) for (_, pair), at in self._elsewhere.items() if at >= since}
        return others | {NodeId(node) for node, _ in self._judge.flagged_pairs}

    async def refresh(self) -> None:
        """Tell the log what has changed here, and learn what others told. Raises: StorageError."""
        flagged = self._judge.flagged_pairs
        for pair in sorted(flagged ^ self._told):
            await self._tell(pair, Action.NODE_FLAGGED if pair in flagged else Action.NODE_CLEARED)
            self._told ^= {pair}
        await self._learn()

    async def _tell(self, pair: Pair, action: Action) -> None:
        node, digest = pair
        standing = self._judge.standing(node, digest)
        details: dict[str, Detail] = {
            "digest": digest,
            "judged": standing.judged,
            "off": standing.off,
            "gateway": self._gateway,
        }
        async with self._storage.write(in_turn=True) as connection:
            owner = await connection.scalar(select(nodes.c.member_id).where(nodes.c.id == node))
            await self._log.record(connection, Entry(action, GATEWAY, node, owner, details))

    async def _learn(self) -> None:
        now = self._clock()
        since = now - HOLDS if self._read is None else None
        wanted = Wanted(since=since, actor=GATEWAY.kind, among=_ACTIONS)
        size = await self._log.size()
        while found := await self._log.following(self._read or 0, wanted=wanted):
            for entry in found:
                details = json.loads(entry.details)
                by, pair = str(details.get("gateway")), (entry.subject, str(details.get("digest")))
                if entry.action == Action.NODE_FLAGGED and by != self._gateway:
                    self._elsewhere[by, pair] = entry.at
                elif entry.action == Action.NODE_CLEARED:
                    self._elsewhere.pop((by, pair), None)
            self._read = found[-1].seq
        # Where nobody was flagged too: the log is long.
        self._read = max(size, self._read or 0)
        self._elsewhere = {key: at for key, at in self._elsewhere.items() if at >= now - HOLDS}


__all__ = ["HOLDS", "Flags"]
