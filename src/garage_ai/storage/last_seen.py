"""When keys were last used and nodes last seen: kept in memory, written about once a second.

Nodes are heard all the time and written once a minute.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Self

import structlog
from sqlalchemy import Column, Update, bindparam, or_, update

from garage_ai.storage.database import Storage
from garage_ai.storage.errors import StorageError
from garage_ai.storage.ids import KeyId
from garage_ai.storage.tables import keys, nodes

_log = structlog.get_logger(__name__)

SECONDS: Final = 1.0
"""How often they are written."""

NODE_PAUSE: Final = timedelta(seconds=60)
"""A node that goes on beating is noted anew after so long, half as long up to half as long again.

It is shown to the minute, and thousands of nodes beat every five seconds.
"""

MOST: Final = 100_000
"""Keys or nodes that may wait while the database is away."""

CLOSE_SECONDS: Final = 5.0

_draw: Final = random.SystemRandom().random


class LastSeen:
    """The last moments of keys and nodes. All methods belong to the event loop's thread."""

    def __init__(self, storage: Storage, draw: Callable[[], float] = _draw) -> None:
        self._storage = storage
        self._draw = draw
        self._keys: dict[str, datetime] = {}
        self._nodes: dict[str, datetime] = {}
        self._due: dict[str, datetime] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, storage: Storage) -> Self:
        """Start writing on the running loop; `close` ends it."""
        seen = cls(storage)
        seen._task = asyncio.create_task(seen._run(), name="last-seen")
        return seen

    def key(self, key: KeyId, at: datetime) -> None:
        """Note when a key was last used."""
        if len(self._keys) < MOST:
            self._keys[key] = at

    def node(self, node: str, at: datetime) -> None:
        """Note when a node was last seen, now and then."""
        due = self._due.get(node)
        if (due is not None and at < due) or len(self._nodes) >= MOST:
            return
        if len(self._due) >= MOST:
            self._due.clear()
        self._nodes[node] = at
        self._due[node] = at + NODE_PAUSE * (0.5 + self._draw())

    async def close(self) -> None:
        """Write what was noted and stop."""
        self._closing.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            if unfinished:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                pass
            try:
                await self._write()
            except Exception:  # without this task no moment would be written any more
                _log.exception("moments_not_written")

    async def _write(self) -> None:
        """Write the last moments; kept for the next time if that fails."""
        of_keys, self._keys = self._keys, {}
        of_nodes, self._nodes = self._nodes, {}
        if not of_keys and not of_nodes:
            return
        try:
            async with self._storage.write() as connection:
                for statement, moments in ((_KEY, of_keys), (_NODE, of_nodes)):
                    if moments:
                        # In one order, so that two gateways do not wait for each other.
                        rows = [{"row": row, "moment": moments[row]} for row in sorted(moments)]
                        await connection.execute(statement, rows)
        except StorageError as error:
            _log.warning("moments_not_written", code=error.code)
            self._keys = of_keys | self._keys
            self._nodes = of_nodes | self._nodes


def _touch(id_column: Column[str], moment: Column[datetime]) -> Update:
    return (
        update(id_column.table)
        .where(
            id_column == bindparam("row"),
            or_(moment.is_(None), moment < bindparam("moment", type_=moment.type)),
        )
        .values({moment: bindparam("moment", type_=moment.type)})
    )


_KEY: Final = _touch(keys.c.id, keys.c.last_used_at)
_NODE: Final = _touch(nodes.c.id, nodes.c.last_seen_at)


__all__ = ["LastSeen"]
