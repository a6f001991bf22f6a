"""Measure an engine that serves, and the line to the gateway; hand the result in."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from garage_ai import __version__
from garage_ai.catalog import find_card
from garage_ai.node.bench.budget import level_seconds
from garage_ai.node.bench.drive import Progress, Size, run_level, size_for
from garage_ai.node.bench.line import LineSpeed, measure_line
from garage_ai.node.bench.power import PowerMeter
from garage_ai.node.bench.timing import level_of
from garage_ai.node.engines.port import Engine, Offer, computes_on
from garage_ai.node.errors import NodeError, NotPossible
from garage_ai.node.events import Begun, Done, Event
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.node.hardware.models import Gpu
from garage_ai.node.hardware.pc import read_cpu, read_gpus
from garage_ai.node.preflight.reach import look
from garage_ai.node.records import tls_for
from garage_ai.wire.benchmarks import Benchmark, Level
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.trust import TrustError

_log = structlog.get_logger(__name__)

STREAMS: Final = (1, 4, 16)

Tell = Callable[[Event], None]


class Footing(NamedTuple):
    """What an engine stands on beside its model: its version and its cards; empty: nobody tells."""

    engine: str = ""
    driver: str = ""
    cards: tuple[Gpu, ...] = ()


async def footing_of(engine: Engine) -> Footing:
    """Look at what an engine stands on; its version is known once it was ready."""
    gpus = await asyncio.to_thread(read_gpus)
    cards = tuple(card for card in gpus.cards if computes_on(engine.device, card.uuid))
    version = engine.memory.subject.engine if engine.memory is not None else ""
    return Footing(version[:200], gpus.driver[:200] if cards else "", cards)


async def measure(
    engine: Engine,
    record: Record,
    folder: NodeFolder,
    *,
    began: float,
    load: float | None,
    tell: Tell,
    progress: Progress,
) -> Benchmark:
    """Measure an engine that is ready; `began` is when its time began to count, `load` its own.

    Raises: NotPossible.
    """
    loop = asyncio.get_running_loop()
    offer = text_offer(engine)
    meter = PowerMeter(device=engine.device)
    await meter.start()
    try:
        levels, tokens = await _levels(engine, offer, began, progress)
    finally:
        power = await meter.stop()
    await engine.measure()
    held = engine.memory
    tell(Begun("line", record.gateway))
    reach = await look(record)
    line = await _line(folder, record, reach.round_trip)
    tell(Done("line", record.gateway))
    footing = await footing_of(engine)
    energy = power.watt_hours(tokens)
    return Benchmark(
        at=round(time.time(), 3),
        agent=__version__,
        engine=engine.kind,
        model=offer.name,
        digest=offer.digest,
        context=offer.context,
        slots=offer.slots,
        cpu=await asyncio.to_thread(read_cpu, Path("/")),
        gpus=tuple(card.name for card in footing.cards[:16]),
        levels=levels,
        seconds=round(loop.time() - began, 3),
        load=load,
        round_trip=reach.round_trip,
        engine_version=footing.engine,
        driver=footing.driver,
        memory=held.peak if held is not None else None,
        memory_on="" if held is None else "cards" if held.on_cards else "pc",
        watts=None if power.watts is None else round(power.watts, 1),
        watts_by=power.basis,
        watt_hours=None if energy is None else round(energy, 4),
        up=line.up,
        down=line.down,
        factor=class_factor(footing.cards),
    )


def class_factor(cards: Sequence[Gpu]) -> float | None:
    """Give the cards' published speed beside the reference card's; None where one is not known.

    Cards work one after the other on each token, so the slowest decides.
    """
    known = [find_card(card.name, card.total) for card in cards]
    factors = [card.factor for card in known if card is not None]
    return round(min(factors), 3) if factors and len(factors) == len(cards) else None


async def _line(folder: NodeFolder, record: Record, round_trip: float | None) -> LineSpeed:
    if round_trip is None:
        return LineSpeed()
    try:
        identity = folder.identity.load()
    except IdentityError:
        return LineSpeed()
    return await measure_line(record, identity, round_trip)


def text_offer(engine: Engine) -> Offer:
    """Give the model to measure. Raises: NotPossible if none of them makes text."""
    for offer in engine.offers:
        if offer.kind != "embedding":
            return offer
    raise NotPossible("Only a model that makes text can be measured.")


async def _levels(
    engine: Engine, offer: Offer, began: float, progress: Progress
) -> tuple[tuple[Level, ...], int]:
    """Run each number of streams that the engine has slots for; give the tokens it made, too.

    Raises: NotPossible.
    """
    loop = asyncio.get_running_loop()
    draw = random.Random()  # noqa: S311 - words of a prompt
    levels: list[Level] = []
    tokens = 0
    wanted = sorted({min(each, offer.slots) for each in STREAMS})
    for number, streams in enumerate(wanted):
        rounds = await run_level(
            engine,
            offer,
            streams,
            size=size_for(streams, levels[0]) if levels else Size(),
            seconds=level_seconds(loop.time() - began, len(wanted) - number),
            draw=draw,
            tell=progress,
        )
        level = level_of(streams, rounds)
        if level is None:
            break
        levels.append(level)
        tokens += sum(timing.tokens for round_ in rounds for timing in round_)
    if not levels:
        raise NotPossible("The engine answered none of the requests; see its log.")
    return tuple(levels), tokens


async def send(folder: NodeFolder, record: Record, result: Benchmark) -> str:
    """Send the result, signed; give why not, if it could not be."""
    try:
        identity = folder.identity.load()
        async with GatewayClient(record.gateway, tls=tls_for(record)) as client:
            await client.send_benchmark(identity, record.node, result)
    except (NodeError, IdentityError, TrustError) as error:
        _log.info("benchmark_unsent", detail=str(error)[:200])
        return str(error)
    return ""


__all__ = [
    "STREAMS",
    "Footing",
    "Tell",
    "class_factor",
    "footing_of",
    "measure",
    "send",
    "text_offer",
]
