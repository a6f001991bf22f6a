"""`gai node status`: how the agent is doing, and in one line why it serves or not."""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from garage_ai.cli import output
from garage_ai.cli.device_words import device_words
from garage_ai.cli.group_status import group_rows
from garage_ai.cli.node_bench_words import drift_lines
from garage_ai.cli.node_words import say
from garage_ai.cli.reason_words import reason_in_words, state_in_words
from garage_ai.cli.words import language
from garage_ai.node.guard.quantities import shown_size
from garage_ai.node.guard.words import SIGNALS, Sentence
from garage_ai.node.status import refusal_in

if TYPE_CHECKING:
    from garage_ai.node.guard.status import CardStatus, DayStatus, GuardStatus
    from garage_ai.node.status import ModelStatus, Status
    from garage_ai.wire.messages import EngineImage

LOOK_SECONDS: Final = 1.0
_PAUSES_SHOWN: Final = 5
_PRICES: Final = {"before": "status.price.before", "table": "status.price.table"}

Row = tuple[str, str]


def lines(shown: "Status") -> list[str]:
    """Put the agent's state into lines."""
    rows = [(name, output.harmless(text.strip())) for name, text in _rows(shown)]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]


def show_live(ask: Callable[[], "Status"]) -> None:
    """Show the state anew every second until Ctrl-C; once where there is no terminal."""
    if not output.is_rich(sys.stdout):
        output.write("\n".join(lines(ask())))
        return
    from rich.live import Live
    from rich.text import Text

    with Live(Text("\n".join(lines(ask()))), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(LOOK_SECONDS)
                live.update(Text("\n".join(lines(ask()))), refresh=True)
        except KeyboardInterrupt:
            return


def why(shown: "Status") -> str:
    """Say in one line why the node serves or not."""
    guard = shown.guard
    if guard is not None and guard.action != "serve":
        key = "status.finishing" if guard.action == "drain" else "status.not_serving"
        return say(key, since=_clock(guard.since), reason=_in_words(guard.reason))
    return reason_in_words(shown.reason) or _refused(shown) or say("status.serving")


def _refused(shown: "Status") -> str:
    """Say why the network gives the node no work, as far as it has told; empty if it does."""
    code = refusal_in(shown.notices)
    return say("refused", why=say(f"refused.{code}")) if code else ""


def _rows(shown: "Status") -> list[Row]:
    where = f"{shown.name} {shown.node} {shown.region or ''}"
    link = shown.link.url or shown.link.error or ""
    return [
        (say("status.node"), where),
        (say("status.state"), state_in_words(shown.state)),
        (say("status.why"), why(shown)),
        (say("status.engine"), _engine(shown)),
        *(group_rows(shown.group, shown.node) if shown.group is not None else []),
        *_device_rows(shown),
        (say("status.sandbox"), _sandbox(shown)),
        *image_rows(shown.engine.image),
        *_load_rows(shown),
        *_memory_rows(shown),
        *((say("status.model"), _model(each)) for each in shown.models),
        *((say("status.trend"), each) for each in _trend(shown)),
        (say("status.running"), f"{shown.running}/{shown.slots}"),
        *([(say("status.job"), say("status.job.text", job=shown.job))] if shown.job else []),
        (say("status.since"), _totals(shown)),
        *(_guard_rows(shown.guard) if shown.guard is not None else []),
        (say("status.link"), f"{state_in_words(shown.link.state)} {link}"),
        *(
            (say("status.notice"), f"{each.code}: {reason_in_words(each.message)}")
            for each in shown.notices
        ),
        (say("status.version"), f"{shown.agent}, pid {shown.pid}"),
    ]


def _engine(shown: "Status") -> str:
    engine = shown.engine
    return f"{engine.kind} {state_in_words(engine.state)} {reason_in_words(engine.reason)}"


def _device_rows(shown: "Status") -> list[Row]:
    device = shown.engine.device
    return [] if device is None else [(say("status.device"), device_words(device))]


def _sandbox(shown: "Status") -> str:
    kind = shown.engine.sandbox
    held = kind == "none" or shown.engine.limits
    return kind if held else say("status.unlimited", kind=kind)


def image_rows(image: "EngineImage | None") -> list[Row]:
    """Name what an engine's container is made from, digests whole."""
    if image is None:
        return []
    built = [] if image.content is None else [(say("status.image_of"), image.content)]
    base = [(say("status.image_base"), image.base)] if image.base else []
    return [(say("status.image"), image.digest), *built, *base]


def _model(each: "ModelStatus") -> str:
    speed = f" {say('status.speed', speed=each.decode_speed)}" if each.decode_speed else ""
    return f"{each.name} {each.digest}{speed}"


def _trend(shown: "Status") -> Iterator[str]:
    return drift_lines(shown.trend.drift, shown.trend.changes)


def _totals(shown: "Status") -> str:
    totals = shown.totals
    return say(
        "status.totals",
        answered=totals.answered,
        failed=totals.failed,
        cancelled=totals.cancelled,
        refused=totals.refused,
    )


def _guard_rows(guard: "GuardStatus") -> list[Row]:
    rows = [
        (say("status.share"), say(f"status.share.{guard.limits.share}")),
        (say("status.today"), say("status.tokens", tokens=guard.today.tokens)),
        (say("status.month"), say("status.sent", sent=shown_size(guard.today.sent_this_month))),
        *((say("status.card"), _card(each)) for each in guard.cards),
        (say("status.power"), _power(guard.today)),
        *_cost_rows(guard.today),
        (say("status.disk"), _disk(guard)),
    ]
    for each in guard.signals:
        if each.verdict == "unknown":
            key = "status.unknown.closed" if each.fails_closed else "status.unknown.open"
            name = SIGNALS[each.signal][language() == "sv"]
            text = say(key, signal=name, why=_in_words(each.why))
            rows.append((say("status.unknown"), text))
    for pause in guard.pauses[-_PAUSES_SHOWN:]:
        until = _clock(pause.until) if pause.until is not None else say("status.pause.now")
        reason = _in_words(pause.why)
        text = say("status.pause.row", since=_clock(pause.since), until=until, reason=reason)
        rows.append((say("status.pause"), text))
    return rows


def _card(each: "CardStatus") -> str:
    parts = [each.name]
    if each.watts is not None:
        parts.append(f"{each.watts:.0f} W")
    if each.temperature is not None:
        parts.append(f"{each.temperature:.0f} °C")
    return ", ".join(parts)


def _power(today: "DayStatus") -> str:
    if today.watts is None:
        return say("status.power.unknown")
    key = "status.watts" if today.most_watts is None else "status.watts.most"
    meters = ", ".join(say(f"status.meter.{each}") for each in today.metered)
    return f"{say(key, watts=today.watts, most=today.most_watts)} ({meters})"


def _disk(guard: "GuardStatus") -> str:
    used, limit = shown_size(guard.weights), guard.limits.disk
    if limit is None:
        return say("status.disk.used", used=used)
    return say("status.disk.of", used=used, limit=shown_size(limit))


def _cost_rows(today: "DayStatus") -> list[Row]:
    if today.kwh is None or today.kwh_this_month is None:
        return []
    drawn = say("status.kwh", kwh=today.kwh, month=today.kwh_this_month)
    return [(say("status.energy"), drawn), (say("status.cost"), _cost(today))]


def _cost(today: "DayStatus") -> str:
    if today.price_area is None:
        return say("status.no_area")
    where = {"source": today.price_source, "area": today.price_area}
    parts = []
    if today.kronor is not None:
        parts.append(say("status.kronor", kronor=today.kronor, **where))
    if today.price is not None:
        key = _PRICES.get(today.price_basis or "today", "status.price")
        parts.append(say(key, price=today.price))
    return "; ".join(parts) or say("status.price.unknown", **where)


def _in_words(text: Sentence) -> str:
    return text.sv if language() == "sv" else text.en


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _memory_rows(shown: "Status") -> list[Row]:
    engine = shown.engine
    rows = []
    if engine.smaller is not None:
        rows.append((say("status.smaller"), _in_words(engine.smaller)))
    if engine.memory is not None:
        rows.append((say("status.memory"), say("status.measured", size=shown_size(engine.memory))))
    return rows


def _load_rows(shown: "Status") -> list[tuple[str, str]]:
    engine = shown.engine
    if engine.running is None:
        return []
    words = say(
        "status.load",
        running=engine.running,
        waiting=engine.waiting,
        cache=round(100 * (engine.cache_used or 0.0)),
    )
    return [(say("status.in_engine"), words)]


__all__ = ["LOOK_SECONDS", "image_rows", "lines", "show_live", "why"]
