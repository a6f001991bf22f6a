"""A request from admission to its one usage record."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from garage_ai.network import Answer, Part, Request
from garage_ai.network.models import Replica
from garage_ai.serving.errors import RegionForbidden, ServingError
from garage_ai.serving.models import Call
from garage_ai.serving.reply import CLIENT_GONE, Reply
from garage_ai.storage.usage import UsagePart, UsageRecord


class Network(Protocol):
    """What serving needs of the network."""

    def resolve(self, model: str) -> str:
        """Give the served name of a model or alias. Raises: DispatchError."""

    async def open(self, request: Request) -> Answer:
        """Send a request. Raises: DispatchError."""


class Ledger(Protocol):
    """Where usage records go; `put` never waits."""

    def put(self, record: UsageRecord) -> None:
        """Take a record."""


Observer = Callable[[UsageRecord], None]
"""Told of every record, for metrics; must be quick."""


def _ignore(_: UsageRecord) -> None:
    return None


class Service:
    """Serve calls; whatever becomes of one, exactly one usage record is written."""

    def __init__(self, network: Network, usage: Ledger, observe: Observer = _ignore) -> None:
        self._network = network
        self._usage = usage
        self._observe = observe

    async def open(self, call: Call) -> Reply:
        """Find a node and return when its answer begins.

        Raises: ServingError. Cancelling the caller stops the work and is recorded too.
        """
        account = _Account(call, self._record)
        try:
            region = _region(call)
            account.model = self._network.resolve(call.model)
            answer = await self._network.open(
                Request(
                    call.route,
                    account.model,
                    call.body,
                    stream=call.stream,
                    include_usage=call.include_usage,
                    region=region,
                    member=call.key.member,
                )
            )
        except ServingError as error:
            account.fails(error)
            raise
        except asyncio.CancelledError:
            account.close(CLIENT_GONE)
            raise
        except BaseException:
            account.close("internal_error")
            raise
        account.begins(answer)
        return Reply(answer, stream=call.stream, finish=account.close)

    def _record(self, record: UsageRecord) -> None:
        self._usage.put(record)
        self._observe(record)


class _Account:
    """What is known of one request until its record is written."""

    def __init__(self, call: Call, write: Callable[[UsageRecord], None]) -> None:
        self.model = call.model[:200]
        self._call = call
        self._write = write
        self._at = datetime.now(UTC)
        self._started = time.perf_counter()
        self._first: float | None = None
        self._answer: Answer | None = None
        self._asked: Replica | None = None
        self._tries = 0

    def begins(self, answer: Answer) -> None:
        """Note who answers, and that the first content is there; a plain answer comes whole."""
        self._answer = answer
        if self._call.stream:
            self._first = time.perf_counter() - self._started

    def fails(self, error: ServingError) -> None:
        """Note who was asked in vain, and write the record."""
        self._asked, self._tries = error.asked, error.tries
        self.close(error.code)

    def close(self, outcome: str) -> None:
        """Write the record."""
        call, answer = self._call, self._answer
        replica = answer.replica if answer is not None else self._asked
        seen = answer.seen if answer is not None else None
        usage = seen.usage if seen is not None else None
        self._write(
            UsageRecord(
                request_id=call.request_id,
                at=self._at,
                member=call.key.member,
                key_id=call.key.id,
                route=call.route,
                model=self.model,
                digest=replica.digest if replica is not None else None,
                node=replica.node.id if replica is not None else None,
                outcome=outcome,
                stream=call.stream,
                prompt_tokens=usage.prompt_tokens if usage is not None else None,
                completion_tokens=usage.completion_tokens if usage is not None else None,
                content_events=seen.content_events if seen is not None else 0,
                bytes_out=seen.bytes_out if seen is not None else 0,
                ttft_s=self._first,
                duration_s=time.perf_counter() - self._started,
                attempts=answer.tries if answer is not None else self._tries,
                parts=tuple(map(_part, answer.parts)) if answer is not None else (),
            )
        )


def _part(part: Part) -> UsagePart:
    return UsagePart(
        part.node,
        part.digest,
        part.prompt_tokens,
        part.completion_tokens,
        part.content_events,
        part.outcome,
        part.gap_s,
    )


def _region(call: Call) -> str | None:
    """Give the region the request must stay in; a key's own cannot be left."""
    bound = call.key.region
    if bound is not None and call.region is not None and call.region != bound:
        raise RegionForbidden(f"This key may only be used in {bound}.")
    return bound or call.region
