"""`gai node status`: how the agent is doing, and in one line why it serves or not."""

import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from garage_ai.cli import output
from garage_ai.cli.node_words import say
from garage_ai.cli.words import language
from garage_ai.node.guard.quantities import shown_size
from garage_ai.node.guard.words import SIGNALS, Sentence

if TYPE_CHECKING:
    from garage_ai.node.guard.status import DayStatus, GuardStatus
    from garage_ai.node.status import ModelStatus, Status

LOOK_SECONDS: Final = 1.0
_PAUSES_SHOWN: Final = 5

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
    return shown.reason or say("status.serving")


def _rows(shown: "Status") -> list[Row]:
    where = f"{shown.name} {shown.node} {shown.region or ''}"
    link = shown.link.url or shown.link.error or ""
    return [
        (say("status.node"), where),
        (say("status.state"), shown.state),
        (say("status.why"), why(shown)),
        (say("status.engine"), f"{shown.engine.kind} {shown.engine.state} {shown.engine.reason}"),
        (say("status.sandbox"), _sandbox(shown)),
        *_load_rows(shown),
        *((say("status.model"), _model(each)) for each in shown.models),
        (say("status.running"), f"{shown.running}/{shown.slots}"),
        (say("status.since"), _totals(shown)),
        *(_guard_rows(shown.guard) if shown.guard is not None else []),
        (say("status.link"), f"{shown.link.state} {link}"),
        *((say("status.notice"), f"{each.code}: {each.message}") for each in shown.notices),
        (say("status.version"), f"{shown.agent}, pid {shown.pid}"),
    ]


def _sandbox(shown: "Status") -> str:
    kind = shown.engine.sandbox
    held = kind == "none" or shown.engine.limits
    return kind if held else say("status.unlimited", kind=kind)


def _model(each: "ModelStatus") -> str:
    speed = f" {say('status.speed', speed=each.decode_speed)}" if each.decode_speed else ""
    return f"{each.name} {each.digest[:19]}{speed}"


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
        (say("status.today"), say("status.tokens", tokens=guard.today.tokens)),
        (say("status.month"), say("status.sent", sent=shown_size(guard.today.sent_this_month))),
        (say("status.power"), _power(guard.today)),
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


def _power(today: "DayStatus") -> str:
    if today.kwh is None:
        return say("status.power.unknown")
    text = say("status.power.measured", watts=today.watts or 0.0, kwh=today.kwh)
    if today.kronor is not None:
        text += f", {say('status.kronor', kronor=today.kronor)}"
    return text


def _in_words(text: Sentence) -> str:
    return text.sv if language() == "sv" else text.en


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


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


__all__ = ["LOOK_SECONDS", "lines", "show_live", "why"]
