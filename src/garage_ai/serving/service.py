"""A request from admission to its one usage record."""

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from garage_ai.accounts import FREE, Key, LimitReached
from garage_ai.ledger import Receipt
from garage_ai.network import Answer, Part, Request, Seen, Trail
from garage_ai.serving.admission import (
    Limits,
    Places,
    check_model,
    demand_of,
    models_for,
    region_for,
    worst_case,
)
from garage_ai.serving.books import UNBILLED, Bill, Books, Write
from garage_ai.serving.errors import ServingError
from garage_ai.serving.models import Call
from garage_ai.serving.recount import Recount
from garage_ai.serving.reply import CLIENT_GONE, Reply
from garage_ai.storage.usage import UsagePart, UsageRecord

BYTES_A_TOKEN: Final = 4
"""Of a prompt's text, where an engine did not count it: what limits are charged for it."""


class Network(Places, Protocol):
    """What serving needs of the network."""

    def resolve(
        self,
        model: str,
        member: str = "",
        allowed: Collection[str] | None = None,
        *,
        job: str = "",
    ) -> str:
        """Give the served name of a model or alias, to who asks. Raises: DispatchError."""

    def context(self, model: str, *, job: str = "") -> int | None:
        """Tell the longest context of a model, in tokens."""

    async def open(self, request: Request, trail: Trail) -> Answer:
        """Send a request; `trail` is kept up to date. Raises: DispatchError."""


class Writer(Protocol):
    """Where requests' ends go; `put` never waits."""

    def put(self, receipt: Receipt) -> None:
        """Take what a request used, and what it cost."""


GivenUp = Callable[[], str]
"""Says, when a request is cancelled, how that is recorded."""

Observer = Callable[[UsageRecord], None]
"""Told of every record, for metrics; must be quick."""


def _client_left() -> str:
    return CLIENT_GONE


def _ignore(_: UsageRecord) -> None:
    return None


class Service:
    """Serve calls; whatever becomes of one, exactly one usage record is written."""

    def __init__(
        self,
        network: Network,
        usage: Writer,
        limits: Limits,
        books: Books,
        *,
        observe: Observer = _ignore,
        recount: Recount | None = None,
    ) -> None:
        self._network = network
        self._usage = usage
        self._observe = observe
        self._limits = limits
        self._books = books
        self._recount = recount

    async def open(self, call: Call, given_up: GivenUp = _client_left) -> Reply:
        """Find a node and return when its answer begins.

        Raises: ServingError, LimitReached. Cancelling the caller stops the work and is recorded
        too, as `given_up` then says.
        """
        account = _Account(call, self._record, self._recount)
        try:
            region = await self._admit(call, account)
            answer = await self._network.open(
                Request(
                    call.route,
                    account.model,
                    call.body,
                    stream=call.stream,
                    include_usage=call.include_usage,
                    region=region,
                    member=call.key.member,
                    weigh=account.bill.weigh,
                    priority=call.priority,
                    job=call.job,
                ),
                account.trail,
            )
        except (ServingError, LimitReached) as error:
            account.close(error.code)
            raise
        except asyncio.CancelledError:
            account.close(given_up())
            raise
        except BaseException:
            account.close("internal_error")
            raise
        account.begins(answer)
        headers = account.ticket.headers()
        return Reply(answer, stream=call.stream, finish=account.close, headers=headers)

    def check(self, key: Key, model: str) -> None:
        """Refuse a model that a key may not use, or that nobody knows, before it is asked.

        Raises: ServingError, ModelForbidden.
        """
        allowed = models_for(key, model, self._limits)
        check_model(self._network.resolve(model, key.member, allowed), allowed)

    async def _admit(self, call: Call, account: "_Account") -> str | None:
        """Resolve the model, take and promise what the request may use; give its region, if any."""
        allowed = models_for(call.key, call.model, self._limits)
        network, job = self._network, call.job
        account.model = network.resolve(call.model, call.key.member, allowed, job=job)
        check_model(account.model, allowed)
        region = region_for(call, account.model, self._limits, network)
        tokens = worst_case(call, network.context(account.model, job=job))
        quote = self._books.quote(call, account.model, tokens)
        demand = demand_of(call, tokens, None if quote is None else quote.worst)
        account.ticket = await self._limits.admit(call.key, demand)
        account.bill = await self._books.open(call, quote)
        return region

    def _record(self, receipt: Receipt) -> None:
        self._usage.put(receipt)
        self._observe(receipt.record)


class _Account:
    """What is known of one request until its record is written."""

    def __init__(self, call: Call, write: Write, recount: Recount | None) -> None:
        self.model = call.model[:200]
        self._call = call
        self._write = write
        self._recount = recount
        self._at = datetime.now(UTC)
        self._started = time.perf_counter()
        self._first: float | None = None
        self._answer: Answer | None = None
        self.trail = Trail()
        self.ticket = FREE
        self._tokens = 0
        self.bill: Bill = UNBILLED

    def begins(self, answer: Answer) -> None:
        """Note who answers, and that the first content is there; a plain answer comes whole."""
        self._answer = answer
        if self._call.stream:
            self._first = time.perf_counter() - self._started

    def close(self, outcome: str) -> None:
        """Settle the bill and write the record."""
        call, answer = self._call, self._answer
        replica = answer.replica if answer is not None else self.trail.asked
        seen = answer.seen if answer is not None else None
        usage = seen.usage if seen is not None else None
        self._tokens = _tokens(call, seen)
        self.ticket.leave()
        record = UsageRecord(
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
            attempts=answer.tries if answer is not None else self.trail.tries,
            parts=tuple(map(_part, answer.parts)) if answer is not None else (),
            caller_id=call.caller_id,
        )
        delivered = answer.delivered if answer is not None else ()
        bill = partial(self.bill.close, write=self._written)
        if self._recount is None or not delivered:
            bill(record)
        else:
            # The last bytes leave before that.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._recount.begin, call, record, delivered, bill)

    def _written(self, receipt: Receipt) -> None:
        """Write the record once its charge is known, which is what limits count too."""
        record = receipt.record
        tokens, prompt = self._tokens, record.counted_prompt_tokens
        if prompt is not None:
            tokens = prompt + (record.counted_completion_tokens or 0)
        self.ticket.finish(tokens, 0 if record.charge is None else record.charge)
        self._write(receipt)


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


def _tokens(call: Call, seen: Seen | None) -> int:
    """Count what limits are charged: the engine's word, or what was seen where it said nothing."""
    if seen is None:
        return 0
    usage = seen.usage
    prompt = usage.prompt_tokens if usage is not None else None
    completion = usage.completion_tokens if usage is not None else None
    if prompt is None:
        prompt = len(call.body) // BYTES_A_TOKEN
    return prompt + (seen.content_events if completion is None else completion)
