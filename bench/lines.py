"""What a file of a million requests takes of a gateway, from its upload to its cancellation.

    python -m bench.lines [--short] [--json FILE]

No node is there, so that all that is seen is the file's own: it is uploaded, submitted, looked at
line by line, listed, cancelled, and its error file read. All the while the list of models is asked
for, as a client in the middle of a chat would be waiting for its answer. Memory is the most that
was resident of the gateway's process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import psutil
import uvloop

from bench.processes import StartError
from bench.product import network_roles, running_network
from bench.quantiles import quantile
from bench.report import (
    Machine,
    Verdict,
    console,
    machine,
    print_verdicts,
    table,
    warn_if_busy,
    write_json,
)

__all__ = ["LinesReport", "Step", "main", "measure", "verdicts"]

FULL, SHORT = 1_000_000, 20_000
MEMORY_BOUND = 300.0  # MB
ASK_SECONDS = 0.05
STEP_SECONDS = 1800.0
GROUP = 200
CHAT = "/v1/chat/completions"


class Step(msgspec.Struct, frozen=True):
    """One step: its seconds, and of the questions meanwhile their waits in ms."""

    name: str
    seconds: float
    p50: float
    p99: float
    longest: float
    rss: int


class LinesReport(msgspec.Struct):
    """Everything `bench.lines` writes down."""

    machine: Machine
    lines: int
    rss_before: int
    steps: list[Step]
    verdicts: list[Verdict] = []


class Client:
    """What one member does, and what another waits for meanwhile."""

    def __init__(self, session: aiohttp.ClientSession, gateway: psutil.Process) -> None:
        self.steps: list[Step] = []
        self._session = session
        self._gateway = gateway

    async def step(self, name: str, work: Awaitable[object]) -> None:
        """Do something, and ask for the models while it is done."""
        waits: list[float] = []
        rss = [0]
        asking = asyncio.create_task(self._ask(waits, rss))
        began = time.perf_counter()
        try:
            await asyncio.wait_for(work, STEP_SECONDS)
        finally:
            seconds = time.perf_counter() - began
            asking.cancel()
        waits = sorted(waits) or [0.0]
        p50, p99 = 1000 * quantile(waits, 0.5), 1000 * quantile(waits, 0.99)
        self.steps.append(Step(name, seconds, p50, p99, 1000 * waits[-1], rss[0]))
        console.print(f"{name}: {seconds:.1f} s", style="dim")

    async def _ask(self, waits: list[float], rss: list[int]) -> None:
        while True:
            began = time.perf_counter()
            async with self._session.get("/v1/models") as answer:
                await answer.read()
            waits.append(time.perf_counter() - began)
            rss[0] = max(rss[0], self._gateway.memory_info().rss)
            await asyncio.sleep(ASK_SECONDS)

    async def upload(self, lines: int) -> str:
        """Send a file of so many requests, as it is written."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", _written(lines), filename="lines.jsonl")
        async with self._session.post("/v1/files", data=form) as answer:
            return str((await answer.json())["id"])

    async def submit(self, file: str) -> str:
        """Submit a batch."""
        asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        return str((await self._post("/v1/batches", asked))["id"])

    async def until(self, batch: str, status: str) -> None:
        """Wait for a status; others that end a batch fail the measurement."""
        while (found := await self.batch(batch))["status"] != status:
            if found["status"] in ("failed", "completed", "expired"):
                raise StartError(f"the batch is {found['status']}: {found['errors']}")
            await asyncio.sleep(0.2)

    async def batch(self, batch: str) -> dict[str, object]:
        """Show a batch."""
        async with self._session.get(f"/v1/batches/{batch}") as answer:
            return dict(await answer.json())

    async def listed(self) -> int:
        """List batches; tell how many requests the newest has."""
        async with self._session.get("/v1/batches") as answer:
            return int((await answer.json())["data"][0]["request_counts"]["total"])

    async def cancel(self, batch: str) -> None:
        """Cancel a batch and wait until that is done."""
        await self._post(f"/v1/batches/{batch}/cancel", None)
        await self.until(batch, "cancelled")

    async def read(self, file: object) -> int:
        """Count the lines of a file."""
        lines = 0
        async with self._session.get(f"/v1/files/{file}/content") as answer:
            async for piece in answer.content.iter_any():
                lines += piece.count(b"\n")
        return lines

    async def _post(self, path: str, asked: object) -> dict[str, object]:
        async with self._session.post(path, json=asked) as answer:
            return dict(await answer.json())


async def _written(lines: int) -> AsyncIterator[bytes]:
    body = {"model": "garage-chat", "messages": [{"role": "user", "content": "Say it in Swedish."}]}
    for start in range(0, lines, GROUP):
        yield b"".join(
            json.dumps(
                {"custom_id": f"request-{number}", "method": "POST", "url": CHAT, "body": body}
            ).encode()
            + b"\n"
            for number in range(start, min(start + GROUP, lines))
        )
        await asyncio.sleep(0)  # a socket that takes all at once would let nobody ask meanwhile


async def measure(lines: int) -> LinesReport:
    """Let a file of so many lines go its way."""
    described = machine()
    warn_if_busy(described)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-lines-")))
        network = await stack.enter_async_context(running_network(folder))
        [pid] = network_roles(network)["gateway"][:1]
        gateway = psutil.Process(pid)
        session = aiohttp.ClientSession(
            network.url,
            headers={"authorization": f"Bearer {network.key}"},
            raise_for_status=True,
            timeout=aiohttp.ClientTimeout(total=STEP_SECONDS),
        )
        client = Client(await stack.enter_async_context(session), gateway)
        before = gateway.memory_info().rss
        await _steps(client, lines)
        return LinesReport(described, lines, before, client.steps, verdicts(client.steps))


async def _steps(client: Client, lines: int) -> None:
    """Go through all steps."""
    kept: dict[str, str] = {}

    async def upload() -> None:
        kept["file"] = await client.upload(lines)

    async def validate() -> None:
        kept["batch"] = await client.submit(kept["file"])
        await client.until(kept["batch"], "in_progress")

    await client.step("upload", upload())
    await client.step("submit and look at every line", validate())
    await client.step("list", client.listed())
    await client.step("cancel", client.cancel(kept["batch"]))
    ended = await client.batch(kept["batch"])
    counts = ended["request_counts"]
    if counts != {"total": lines, "completed": 0, "failed": lines}:
        raise StartError(f"the batch counts {counts}")
    await client.step("read the error file", client.read(ended["error_file_id"]))


def verdicts(steps: list[Step]) -> list[Verdict]:
    """Hold the gateway to what was promised."""
    most = max(step.rss for step in steps)
    return [Verdict("memory of the gateway", most / 1e6, "MB", MEMORY_BOUND, "at most")]


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table and verdicts, write JSON; status 1 beyond the bound."""
    parser = argparse.ArgumentParser(prog="bench.lines", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help=f"{SHORT:,} lines, rough figures")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/lines.json)")
    arguments = parser.parse_args(argv)
    try:
        report = uvloop.run(measure(SHORT if arguments.short else FULL))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    rows = [
        [
            step.name,
            f"{step.seconds:.1f} s",
            f"{step.p50:.1f} ms",
            f"{step.p99:.1f} ms",
            f"{step.longest:.0f} ms",
            f"{step.rss / 1e6:.0f} MB",
        ]
        for step in report.steps
    ]
    columns = ["step", "takes", "others wait, p50", "p99", "longest", "memory"]
    table(f"a file of {report.lines:,} requests", columns, rows)
    print_verdicts(report.verdicts)
    write_json("lines", report, arguments.json)
    return 0 if all(verdict.met for verdict in report.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
