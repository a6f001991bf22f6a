"""What `gai node bench` tells below its table, in English and Swedish."""

from collections.abc import Iterator, Sequence
from typing import Final

from garage_ai.cli import output
from garage_ai.cli.words import language
from garage_ai.node.bench.drift import Change, Drift
from garage_ai.node.guard.quantities import shown_size
from garage_ai.wire.benchmarks import Benchmark

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "load": ("ready after {seconds:.1f} s", "redo efter {seconds:.1f} s"),
    "memory.cards": (
        "memory of the cards: {size} at most, measured here",
        "minne på korten: högst {size}, mätt här",
    ),
    "memory.pc": (
        "memory of the PC: {size} at most, measured here",
        "minne i datorn: högst {size}, mätt här",
    ),
    "memory.none": ("memory: not measured", "minne: inte mätt"),
    "watts.nvml": (
        "{watts:.0f} W on the cards by their own word",
        "{watts:.0f} W på korten enligt dem själva",
    ),
    "watts.rapl": (
        "about {watts:.0f} W, an estimate: by the processor's own counters (RAPL), for it alone",
        "ungefär {watts:.0f} W, en uppskattning: av processorns räkneverk (RAPL), för den ensam",
    ),
    "watts.none": (
        "watts: not measured (no card that tells, and no counter of the processor's to read)",
        "watt: inte mätt (inget kort som berättar, och inget räkneverk i processorn att läsa)",
    ),
    "energy": (
        "{energy:.2f} Wh for 1,000 tokens of answers",
        "{energy:.2f} Wh för 1 000 token svar",
    ),
    "line": (
        "line to the gateway: {up:.1f} Mbit/s up, {down:.1f} Mbit/s down, {ms:.1f} ms and back",
        "linje till gatewayen: {up:.1f} Mbit/s upp, {down:.1f} Mbit/s ned, {ms:.1f} ms och åter",
    ),
    "round_trip": (
        "to the gateway and back: {ms:.1f} ms; speed not measured",
        "till gatewayen och åter: {ms:.1f} ms; farten är inte mätt",
    ),
    "factor": (
        "class: {factor:.2f} of an RTX 3090 24 GB, by published bandwidth",
        "klass: {factor:.2f} av ett RTX 3090 24 GB, efter publicerad bandbredd",
    ),
    "drift": (
        "{change:+.0%} {figure}{where} against the last runs: {before} then, {now} now",
        "{change:+.0%} {figure}{where} mot de senaste mätningarna: {before} då, {now} nu",
    ),
    "at": (" at {streams} streams", " vid {streams} strömmar"),
    "change": ("since then {what}: {before} → {now}", "sedan dess {what}: {before} → {now}"),
    "figure.decode": ("tokens/s", "token/s"),
    "figure.prefill": ("prompt tokens/s", "prompttoken/s"),
    "figure.ttft": ("seconds to the first token", "sekunder till första token"),
    "figure.load": ("seconds to load", "sekunder att läsa in"),
    "figure.watt_hours": ("Wh for 1,000 tokens", "Wh för 1 000 token"),
    "figure.memory": ("bytes of memory", "byte minne"),
    "fact.engine_version": ("the engine", "motorn"),
    "fact.driver": ("the driver", "drivrutinen"),
    "fact.agent": ("the agent", "agenten"),
    "fact.context": ("the context", "kontexten"),
    "fact.gpus": ("the cards", "korten"),
    "fact.cpu": ("the processor", "processorn"),
}
_MEGABIT: Final = 1e6 / 8


def bench_lines(result: Benchmark) -> Iterator[str]:
    """Tell all of a measurement that is not in its table."""
    if result.load is not None:
        yield _say("load", seconds=result.load)
    if result.factor is not None:
        yield _say("factor", factor=result.factor)
    key = f"memory.{result.memory_on or 'none'}"
    yield _say(key, size=shown_size(result.memory or 0))
    yield _say(f"watts.{result.watts_by or 'none'}", watts=result.watts or 0.0)
    if result.watt_hours is not None:
        yield _say("energy", energy=result.watt_hours)
    if result.round_trip is None:
        return
    ms = result.round_trip * 1000
    if result.up is None or result.down is None:
        yield _say("round_trip", ms=ms)
    else:
        yield _say("line", up=result.up / _MEGABIT, down=result.down / _MEGABIT, ms=ms)


def drift_lines(drifts: Sequence[Drift], changes: Sequence[Change]) -> Iterator[str]:
    """Tell what has changed since the last runs, and what else has."""
    for each in drifts:
        yield _say(
            "drift",
            change=each.change,
            figure=_say(f"figure.{each.figure}"),
            where=_say("at", streams=each.streams) if each.streams else "",
            before=f"{each.before:.4g}",
            now=f"{each.now:.4g}",
        )
    if drifts:
        for change in changes:
            before, now = output.harmless(change.before), output.harmless(change.now)
            yield _say("change", what=_say(f"fact.{change.what}"), before=before, now=now)


def _say(key: str, /, **values: object) -> str:
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["bench_lines", "drift_lines"]
