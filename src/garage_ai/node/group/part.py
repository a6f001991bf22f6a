"""This rig's part of its gangs, one after the other: run until it is told to end, or has ended."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.vllm import Patience
from garage_ai.node.group.errors import GroupError
from garage_ai.node.group.lending import Lending
from garage_ai.node.group.messages import GangPlan
from garage_ai.node.group.rank import HeadlessRank, LeadingRank, seated
from garage_ai.node.group.reasons import say
from garage_ai.node.group.tunnel import TunnelKeeper
from garage_ai.wire.ids import NodeId

_log = structlog.get_logger(__name__)


class Part:
    """At most one at a time."""

    def __init__(
        self,
        me: NodeId,
        lending: Lending,
        tunnel: TunnelKeeper,
        *,
        run: Path,
        logs: Path,
        launcher: Launcher | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.rank: LeadingRank | None = None
        self.apart = asyncio.Event()
        """Set while nothing of a gang runs here."""
        self.apart.set()
        self._me = me
        self._lending = lending
        self._tunnel = tunnel
        self._folders = (run, logs)
        self._launcher = launcher
        self._patience = patience
        self._end = asyncio.Event()

    def begin(self) -> None:
        """Take the place of what ran before; to be followed by `run`."""
        self._end.clear()
        self.apart.clear()

    def end(self) -> None:
        """Have it end at once."""
        self._end.set()

    async def run(self, plan: GangPlan, changed: Callable[[], None]) -> str:
        """Run it until then; give why it ended, empty when it was told to.

        `changed` is called whenever its rank has changed.
        """
        try:
            return await self._compute(plan, changed)
        except GroupError as error:
            return str(error)
        except Exception:  # what it is is told; the gang must not wait for ever
            _log.exception("rank_broke")
            return say("agent_failed")
        finally:
            self.rank = None
            self.apart.set()
            self._lending.ended()

    async def _compute(self, plan: GangPlan, changed: Callable[[], None]) -> str:
        """Raises: GroupError."""
        others = [place.tunnel for place in plan.places if place.node != self._me]
        async with self._tunnel.admitting([end for end in others if end is not None]):
            return "" if self._end.is_set() else await self._serve(plan, changed)

    async def _serve(self, plan: GangPlan, changed: Callable[[], None]) -> str:
        rank = self.rank = self._make(plan)
        failed = asyncio.Event()

        def hear() -> None:
            if rank.state == "failed":
                failed.set()
            changed()

        rank.on_change(hear)
        try:
            await rank.start()
            await _first_of(failed, self._end)
            if not failed.is_set():
                return ""
            self._lending.ended(rank.cause)
            return rank.story
        finally:
            try:
                await rank.release()
            finally:
                await rank.stop()

    def _make(self, plan: GangPlan) -> LeadingRank:
        options = seated(self._lending.options, plan, self._me, self._tunnel.tunnel)
        kind = HeadlessRank if plan.rank_of(self._me) else LeadingRank
        run, logs = self._folders
        return kind(options, run=run, logs=logs, launcher=self._launcher, patience=self._patience)


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waits, return_exceptions=True)


__all__ = ["Part"]
