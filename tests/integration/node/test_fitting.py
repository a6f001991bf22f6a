"""A real llama.cpp that is given less memory than it asks for, and what is learnt from it."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.integration.node.test_llamacpp import DIGEST, NAME, weights
from tests.parts.job_caller import until

from garage_ai.node.engines import supervised
from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import BareLauncher, OnLine, Startable
from garage_ai.node.engines.llamacpp import LlamaEngine
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.errors import NotPossible
from garage_ai.node.fitting.book import FILE, Book, Peak, Subject
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.machines import Processor
from garage_ai.node.fitting.sizes import Size
from garage_ai.node.logs import BoundedLog
from garage_ai.wire.ids import Digest

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.slow]

MEBI = 1 << 20
AMPLE = 8 << 30
SMALL = "small"
ENGINE = "llamacpp test"
CACHE_OF_A_TOKEN = 30 * 3 * 64 * 2 * 2
"""Layers, key heads, their width, keys and values, bytes of half precision."""

OPTIONS = LlamaOptions(
    weights=weights(), name=NAME, digest=DIGEST, kind="chat", slots=2, context=16_384, threads=1
)


class Tight(BareLauncher):
    """Starts the real engine with so much address space and no more; notes each try.

    The model called SMALL stands for one with fewer bits: it gets more beside its weights.
    """

    def __init__(self, space: int) -> None:
        self._space = space
        self.tried: list[Size] = []

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        assert isinstance(what, LlamaOptions)
        options = what
        self.tried.append(Size(options.context, options.slots))
        space = AMPLE if options.name == SMALL else self._space
        argv = ["prlimit", f"--as={space}", *options.bare(folder).argv]
        return await Child.start(argv, log, folder, on_line=on_line)


class Roomy(Processor):
    """The real processor with as much memory as the test says."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.free = room

    def room(self) -> int:
        return self.free


def made(
    folder: Path, launcher: Tight, machine: Processor | None = None, **more: object
) -> LlamaEngine:
    fitting = Fitting(Book(folder), machine or Processor(), ENGINE)
    options = replace(OPTIONS, **more)  # type: ignore[arg-type]
    return LlamaEngine(options, run=folder / "run", logs=folder, launcher=launcher, fitting=fitting)


async def settled(engine: LlamaEngine) -> None:
    """Start it, and wait until it serves or has given up, and was measured."""
    changed = asyncio.Event()
    engine.on_change(changed.set)
    await engine.start()
    async with asyncio.timeout(60):
        while engine.state not in ("ready", "failed"):
            changed.clear()
            await changed.wait()
    if engine.state == "ready":
        await until(lambda: engine.memory is not None)


async def answered(engine: LlamaEngine) -> str:
    body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    (offer,) = engine.offers
    answer = await engine.ask("chat", json.dumps(body).encode(), offer=offer, stream=False)
    text = json.loads(await answer.read())["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    answer.close()
    return text


async def test_a_real_want_of_memory_ends_in_a_smaller_context_that_serves(tmp_path: Path) -> None:
    """Half the context, and half again; it answers, offers what it has and says why so little."""
    launcher = Tight(700 * MEBI)
    engine = made(tmp_path, launcher)
    try:
        await settled(engine)
        assert engine.state == "ready"
        assert launcher.tried == [(16_384, 2), (8192, 2), (4096, 2)]
        assert await answered(engine)
        (offer,) = engine.offers
        assert (offer.context, offer.slots) == (4096, 2)
        why = engine.smaller
        assert "4096 tokens instead of 2 requests of 16384 tokens, because it ran out" in why.en
        assert "eftersom minnet tog slut" in why.sv
    finally:
        await engine.stop()
    again = Tight(700 * MEBI)
    engine = made(tmp_path, again)
    try:
        await settled(engine)
        assert again.tried == [(4096, 2)], "the next start crashes first"
        assert engine.smaller == why
    finally:
        await engine.stop()


async def test_where_nothing_fits_it_is_refused_and_nothing_starts(tmp_path: Path) -> None:
    """Every rung once, then a sentence that says what to do; the next start tries none."""
    launcher = Tight(330 * MEBI)
    engine = made(tmp_path, launcher, context=8192, slots=4)
    await settled(engine)
    assert engine.state == "failed"
    assert launcher.tried == [(8192, 4), (4096, 4), (4096, 2), (4096, 1)]
    assert "gai models --fits" in engine.reason
    assert "får inte plats" in engine.smaller.sv
    await engine.stop()
    again = Tight(330 * MEBI)
    engine = made(tmp_path, again, context=8192, slots=4)
    await settled(engine)
    assert (engine.state, again.tried) == ("failed", [])
    await engine.stop()


async def test_what_did_not_fit_is_begun_when_memory_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner's virtual machine has ended: nobody has to start the node anew."""
    monkeypatch.setattr(supervised, "ROOM_SECONDS", 0.01)
    subject = Subject(Processor().device, "", ENGINE, DIGEST)
    held = Peak(subject=subject, context=512, slots=1, peak=1 << 30, at=time.time(), full=True)
    Book(tmp_path).measured(held)
    launcher, machine = Tight(AMPLE), Roomy(MEBI)
    engine = made(tmp_path, launcher, machine=machine, context=512, slots=1)
    try:
        await settled(engine)
        assert (engine.state, launcher.tried) == ("failed", [])
        machine.free = AMPLE
        await until(lambda: engine.state == "ready")
        assert launcher.tried == [(512, 1)]
        assert engine.smaller.en == ""
    finally:
        await engine.stop()


async def test_memory_is_counted_when_nothing_is_left_of_an_earlier_run(tmp_path: Path) -> None:
    """An engine that outlived its agent by a moment is no reason to serve less."""
    told = []

    class Clearing(Tight):
        async def clear(self) -> None:
            told.append("cleared")

    class Counting(Processor):
        def room(self) -> int:
            told.append("counted")
            return super().room()

    engine = made(tmp_path, Clearing(AMPLE), machine=Counting(), context=512, slots=1)
    try:
        await settled(engine)
    finally:
        await engine.stop()
    assert told[:2] == ["cleared", "counted"]


async def test_a_smaller_form_is_taken_when_no_size_of_the_larger_fits(tmp_path: Path) -> None:
    """One that cannot be had is passed over; what is served is offered under its own name."""
    launcher = Tight(330 * MEBI)
    digest = Digest("sha256:" + "b" * 64)

    async def missing() -> LlamaOptions:
        raise NotPossible("no network")

    async def smaller() -> LlamaOptions:
        return replace(OPTIONS, name=SMALL, digest=digest, context=512, slots=1)

    engine = LlamaEngine(
        replace(OPTIONS, context=8192, slots=2),
        run=tmp_path / "run",
        logs=tmp_path,
        launcher=launcher,
        fitting=Fitting(Book(tmp_path), Processor(), ENGINE),
        lesser=(missing, smaller),
    )
    try:
        await settled(engine)
        assert launcher.tried == [(8192, 2), (4096, 2), (4096, 1), (512, 1)]
        (offer,) = engine.offers
        assert (offer.name, offer.digest, offer.context) == (SMALL, digest, 512)
        assert engine.smaller.en.startswith(f"small instead of {NAME}")
        assert await answered(engine)
    finally:
        await engine.stop()


async def test_a_real_peak_is_measured_and_used_in_place_of_a_formula(tmp_path: Path) -> None:
    """It is what the process really held; with less room than that nothing has to crash first."""
    engine = made(tmp_path, Tight(AMPLE), context=8192)
    try:
        await settled(engine)
        assert engine.pid is not None
        now = psutil.Process(engine.pid).memory_info().rss
    finally:
        await engine.stop()
    subject = Subject(Processor().device, "", ENGINE, DIGEST)
    (peak,) = Book(tmp_path).peaks_of(subject).values()
    cache = 2 * 8192 * CACHE_OF_A_TOKEN
    least = cache + weights().stat().st_size
    assert now * 0.95 <= peak.peak
    assert least < peak.peak < least + 256 * MEBI
    launcher = Tight(AMPLE)
    engine = made(tmp_path, launcher, machine=Roomy(peak.peak - MEBI), context=8192)
    try:
        await settled(engine)
        assert launcher.tried == [(4096, 2)]
        assert "when measured here" in engine.smaller.en
    finally:
        await engine.stop()
    assert len(Book(tmp_path).peaks) == 2


async def test_a_canary_fills_the_context_once_and_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is broken off by a request; the second is seen through, and is the last."""
    engine = made(tmp_path, Tight(AMPLE), context=1024, slots=1)
    try:
        await settled(engine)
        first = asyncio.create_task(engine._send_canary())
        await asyncio.sleep(0)
        assert await answered(engine)
        async with asyncio.timeout(20):
            await first
        assert not _the_peak(tmp_path)["full"]
        async with asyncio.timeout(60):
            await engine._send_canary()
        assert _the_peak(tmp_path)["full"]
        monkeypatch.setattr(engine, "_fill", None)
        await engine._send_canary()
    finally:
        await engine.stop()


def _the_peak(folder: Path) -> dict[str, object]:
    (peak,) = json.loads((folder / FILE).read_text())["peaks"]
    assert isinstance(peak, dict)
    return peak


async def test_a_kill_by_a_stranger_is_no_want_of_memory(tmp_path: Path) -> None:
    """It starts again as large as it was."""
    launcher = Tight(AMPLE)
    engine = made(tmp_path, launcher, context=1024, slots=1)
    try:
        await settled(engine)
        assert engine.pid is not None
        psutil.Process(engine.pid).kill()
        await until(lambda: len(launcher.tried) == 2 and engine.state == "ready")
        assert launcher.tried == [(1024, 1), (1024, 1)]
        assert Book(tmp_path).failures_of(Subject("", "", "", ""), 0) == []
        assert engine.smaller.en == ""
    finally:
        await engine.stop()
