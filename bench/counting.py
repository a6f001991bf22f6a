"""What counting a request's tokens takes: of the gateway's event loop, and of the process beside.

A prompt of about 500 tokens and an answer of about 300, with the shipped model's own tokenizer.
Times are CPU times, so that a busy machine tells nearly the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil
import uvloop

from bench.report import Machine, Verdict, console, machine, print_verdicts, write_json
from garage_ai.catalog import DEFAULT_MODEL, Catalog, digest_of
from garage_ai.ledger import Counted, Library, TokenMeter

__all__ = ["Report", "main"]

TOGETHER = 64
WORDS = "The quick brown fox jumps over the lazy dog. Räksmörgås är gott! "


class Report(msgspec.Struct, frozen=True):
    """Microseconds of CPU for one request, when many end together and when each ends alone."""

    machine: Machine
    prompt_tokens: int
    completion_tokens: int
    requests: int
    loop_us: float
    loop_alone_us: float
    counting_us: float
    memory_bytes: int
    verdicts: tuple[Verdict, ...]


async def measure(rounds: int) -> Report:
    """Count many requests, and see what that took of both processes."""
    described, manifest = machine(), Catalog.load().by_name(DEFAULT_MODEL)
    assert manifest is not None
    digest = digest_of(manifest)
    with tempfile.TemporaryDirectory() as folder:
        await Library(Path(folder), [manifest]).keep(digest)
        meter = TokenMeter.start(Path(folder))
        try:
            assert await meter.load(digest)
            return await _measured(meter, digest, rounds, described)
        finally:
            await meter.close()


async def _measured(meter: TokenMeter, digest: str, rounds: int, described: Machine) -> Report:
    said = [{"role": "user", "content": WORDS * 19}]
    body = json.dumps({"model": DEFAULT_MODEL, "messages": said, "max_tokens": 512}).encode()
    texts = (WORDS * 12,)
    one = await _alone(meter, digest, body, texts)
    assert one.source == "tokenizer"
    [beside] = psutil.Process().children()
    before = sum(beside.cpu_times()[:2])
    began = time.thread_time()
    for _ in range(rounds):
        await _together(meter, digest, body, texts)
    together = time.thread_time() - began
    requests = rounds * TOGETHER
    counting = sum(beside.cpu_times()[:2]) - before
    began = time.thread_time()
    for _ in range(rounds * 4):
        await _alone(meter, digest, body, texts)
    alone = (time.thread_time() - began) / (rounds * 4)
    loop_us, counting_us = together / requests * 1e6, counting / requests * 1e6
    return Report(
        machine=described,
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        requests=requests,
        loop_us=loop_us,
        loop_alone_us=alone * 1e6,
        counting_us=counting_us,
        memory_bytes=beside.memory_info().rss,
        verdicts=(
            Verdict("event loop, for one request of many", loop_us, "µs", 100, "at most"),
            Verdict("counting, for one request", counting_us, "µs", 2000, "at most"),
        ),
    )


async def _alone(meter: TokenMeter, digest: str, body: bytes, texts: tuple[str, ...]) -> Counted:
    found: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
    meter.begin(digest, "chat", body, texts, found.set_result)
    return await found


async def _together(meter: TokenMeter, digest: str, body: bytes, texts: tuple[str, ...]) -> None:
    left, over = TOGETHER, asyncio.Event()

    def done(counted: Counted) -> None:
        nonlocal left
        assert counted.source == "tokenizer"
        left -= 1
        if not left:
            over.set()

    for _ in range(TOGETHER):
        meter.begin(digest, "chat", body, texts, done)
    await over.wait()


def main(argv: list[str] | None = None) -> int:
    """Measure, print figures and verdicts, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.counting", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="some seconds, rough figures")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/counting.json)")
    arguments = parser.parse_args(argv)
    report = uvloop.run(measure(3 if arguments.short else 60))
    console.print(
        f"{report.prompt_tokens} + {report.completion_tokens} tokens, {report.requests} requests: "
        f"{report.loop_us:.0f} µs of the event loop ({report.loop_alone_us:.0f} µs for one that "
        f"ends alone), {report.counting_us:.0f} µs of the process beside it, "
        f"which holds {report.memory_bytes / 1e6:.0f} MB"
    )
    print_verdicts(report.verdicts)
    write_json("counting", report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
