"""One request at work inside the mock engine: waiting, paced, faulty, finished or cancelled.

A job runs on timers and callbacks instead of a task: at 20,000 requests a second a task each
would cost more than the rest of the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Literal

import msgspec

from bench.mock_answers import (
    END,
    STREAM_HEAD,
    Generation,
    Route,
    Shape,
    StreamParts,
    chunked,
    error_answer,
    json_answer,
    plain_answer,
    stream_parts,
)
from bench.mock_options import Options

__all__ = ["Bench", "Job", "State"]

GARBAGE = bytes((index * 73 + 41) % 256 for index in range(64))
BROKEN_EVENT = b'data: {"id":"chatcmpl-mock","choices":[{"index":0,"delta":{"cont\n\n'
EXIT_STATUS = 9

Outcome = Literal["served", "cancelled", "failed"]


class State(msgspec.Struct):
    """What `GET /mock/state` says: requests now, and requests since the start or the last reset."""

    running: int = 0
    waiting: int = 0
    held: int = 0  # streams that wait because their client does not read
    chunks: int = 0  # chunks of streams that were written
    served: int = 0
    cancelled: int = 0
    failed: int = 0
    seen: int = 0
    peak_running: int = 0


class Bench:
    """The slots of the engine and the line in front of them."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.state = State()
        self.last: tuple[bytes, bytes] = (b"", b"")  # head and body of the newest request
        self._line: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Start the job, or let it wait until a slot is free."""
        state, options = self.state, self.options
        state.seen += 1
        if options.fail_every and state.seen % options.fail_every == 0:
            state.failed += 1
            job.refuse(options.fail_status)
        elif options.slots and state.running >= options.slots:
            self._line.append(job)
            state.waiting += 1
        else:
            self._start(job)

    def leave(self, job: Job, outcome: Outcome) -> None:
        """Free the job's place and let the next in line start."""
        state = self.state
        if self._line and job in self._line:
            self._line.remove(job)
            state.waiting -= 1
        else:
            state.running -= 1
        if outcome == "served":
            state.served += 1
        elif outcome == "cancelled":
            state.cancelled += 1
        else:
            state.failed += 1
        if self._line:
            self.admit()

    def admit(self) -> None:
        """Start waiting jobs while there are slots."""
        while self._line and not 0 < self.options.slots <= self.state.running:
            self.state.waiting -= 1
            self._start(self._line.popleft())

    def reset(self) -> None:
        """Count from zero again; what is at work now stays counted as running."""
        now = self.state
        self.state = State(
            running=now.running, waiting=now.waiting, held=now.held, peak_running=now.running
        )

    def _start(self, job: Job) -> None:
        state = self.state
        state.running += 1
        state.peak_running = max(state.peak_running, state.running)
        job.start()


class Job:
    """The answer to one generation request, written step by step."""

    __slots__ = (
        "_bench",
        "_headed",
        "_index",
        "_loop",
        "_parked",
        "_parts",
        "_paused",
        "_request",
        "_route",
        "_timer",
        "_transport",
        "done",
    )

    def __init__(
        self,
        bench: Bench,
        route: Route,
        request: Generation,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.done = False
        self._bench = bench
        self._route: Route = route
        self._request = request
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.Handle | None = None
        self._parts: StreamParts | None = None
        self._index = 0
        self._headed = False
        self._paused = False
        self._parked = False

    def start(self) -> None:
        """Begin to answer after the first-byte delay."""
        options = self._bench.options
        streamed = self._request.stream
        if streamed and options.early_head:
            self._write_head()
        begin = self._step if streamed else self._answer_plain
        if options.first_byte_delay:
            self._timer = self._loop.call_later(options.first_byte_delay, begin)
        else:
            begin()

    def refuse(self, status: int) -> None:
        """Answer with an error; no slot was taken."""
        self.done = True
        self._transport.write(error_answer(status, "the mock engine was told to fail"))

    def cancel(self) -> None:
        """Stop because the client left."""
        if self._timer is not None:
            self._timer.cancel()
        self._unpark()
        self._leave("cancelled")

    def pause(self) -> None:
        """Stop writing: the client reads slower than this engine writes."""
        self._paused = True

    def resume(self) -> None:
        """Write on."""
        self._paused = False
        if self._unpark():
            self._step()

    def _unpark(self) -> bool:
        parked, self._parked = self._parked, False
        self._bench.state.held -= parked
        return parked

    def _leave(self, outcome: Outcome) -> None:
        self.done = True
        self._bench.leave(self, outcome)

    def _shape(self) -> Shape:
        request, options, limit = self._request, self._bench.options, self._request.limit
        said = request.said
        return Shape(
            route=self._route,
            model=request.model,
            chunks=max(1, options.chunks - said if limit is None else limit),
            finish="stop" if limit is None else "length",
            tool=request.forced_tool,
            prompt_tokens=options.prompt_tokens,
            start=said,
        )

    def _answer_plain(self) -> None:
        options = self._bench.options
        if self._strike(options):
            return
        answer = plain_answer(self._shape())
        if options.bad_json:
            answer = answer[:-20] + b" " * 20
        elif options.huge_body:
            answer = json_answer(b'{"filler":"%b"}' % (b"x" * options.huge_body))
        self._transport.write(answer)
        self._leave("served")

    def _step(self) -> None:
        options, parts = self._bench.options, self._parts
        if parts is None:
            parts = self._parts = stream_parts(self._shape())
        if self._strike(options):
            return
        if not self._headed:
            self._write_head()
        index, events = self._index, parts.events
        self._bench.state.chunks += options.batch
        if options.batch == 1:
            self._transport.write(events[index])
            self._index = index = index + 1
        else:
            self._transport.write(b"".join(events[index : index + options.batch]))
            self._index = index = index + options.batch
        if index >= len(events):
            self._end(parts, options)
        elif self._paused:
            self._parked = True
            self._bench.state.held += 1
        elif options.chunk_delay:
            self._timer = self._loop.call_later(options.chunk_delay, self._step)
        else:
            self._timer = self._loop.call_soon(self._step)

    def _end(self, parts: StreamParts, options: Options) -> None:
        usage = parts.usage if self._request.wants_usage else b""
        self._transport.write(usage + (END if options.no_done else parts.done + END))
        self._leave("served")
        if options.hang_up:
            self._transport.close()

    def _write_head(self) -> None:
        self._headed = True
        self._transport.write(STREAM_HEAD)

    def _strike(self, options: Options) -> bool:
        """Do the fault that is due after this many chunks; say whether the job ends or hangs."""
        if not options.faulty:
            return False
        at = self._index
        if options.die_after == at:
            os._exit(EXIT_STATUS)
        if options.stall_after == at:
            return True
        if options.cut_after == at:
            self._leave("failed")
            self._transport.close()
            return True
        if self._request.stream:
            self._write_nonsense(options, at)
        return False

    def _write_nonsense(self, options: Options, at: int) -> None:
        if not self._headed:
            self._write_head()
        if options.garbage_after == at:
            self._transport.write(chunked(GARBAGE))
        if options.bad_json_after == at:
            self._transport.write(chunked(BROKEN_EVENT))
        if options.oversized_event and at == 0:
            filler = b" w0" + b"x" * options.oversized_event
            event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % filler
            self._transport.write(chunked(event))
