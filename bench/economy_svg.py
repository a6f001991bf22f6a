"""Curves as SVG, small enough to commit: no library for three pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

__all__ = ["Curve", "bars", "lines"]

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 34, 40
COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#8d6a9f", "#b08900", "#444444")


@dataclass(frozen=True, slots=True)
class Curve:
    """A name and its points, from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


def lines(title: str, across: str, upwards: str, curves: Sequence[Curve], path: Path) -> None:
    """Draw curves over one axis each way, both from zero."""
    far = max(x for curve in curves for x, _ in curve.points) or 1
    high = _nice(max(y for curve in curves for _, y in curve.points))
    drawn = [
        _frame(title, across, upwards, high),
        _across([(x, f"{x:g}") for x in _steps(far)], far),
    ]
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{_x(x, far):.1f},{_y(y, high):.1f}" for x, y in curve.points)
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        drawn.append(_legend(number, colour, curve.name))
    _write(path, title, drawn)


def bars(title: str, upwards: str, values: Sequence[tuple[str, float]], path: Path) -> None:
    """Draw a bar for each name."""
    high = _nice(max(value for _, value in values))
    wide = (WIDTH - LEFT - RIGHT) / len(values)
    drawn = [_frame(title, "", upwards, high)]
    for number, (name, value) in enumerate(values):
        colour, left, top = (
            COLOURS[number % len(COLOURS)],
            LEFT + number * wide + 8,
            _y(value, high),
        )
        tall = HEIGHT - BOTTOM - top
        drawn.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide - 16:.1f}" height="{tall:.1f}" '
            f'fill="{colour}"/>'
        )
        drawn.append(_text(left + wide / 2 - 8, top - 5, f"{value:.3g}", "middle"))
        drawn.append(_legend(number, colour, name))
    _write(path, title, drawn)


def _frame(title: str, across: str, upwards: str, high: float) -> str:
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    drawn = [
        _text(LEFT, 20, title, "start", bold=True),
        _text((LEFT + right) / 2, HEIGHT - 6, across, "middle"),
        _text(8, TOP - 6, upwards, "start"),
    ]
    for step in range(5):
        value = high * step / 4
        y = _y(value, high)
        drawn.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ccc"/>')
        drawn.append(_text(LEFT - 6, y + 4, f"{value:g}", "end"))
    drawn.append(f'<path d="M{LEFT} {TOP}V{low}H{right}" fill="none" stroke="#333"/>')
    return "\n".join(drawn)


def _across(marks: Sequence[tuple[float, str]], far: float) -> str:
    return "\n".join(_text(_x(x, far), HEIGHT - BOTTOM + 16, said, "middle") for x, said in marks)


def _steps(far: float) -> list[float]:
    step = _nice(far / 6)
    return [step * number for number in range(int(far / step) + 1)]


def _nice(value: float) -> float:
    """Round up to 1, 2, 4, 5 or 8 with zeros behind or before it."""
    if value <= 0:
        return 1.0
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    while scale > value:
        scale /= 10
    return next(scale * each for each in (1, 2, 4, 5, 8, 10) if scale * each >= value)


def _x(value: float, far: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / far


def _y(value: float, high: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / high


def _legend(number: int, colour: str, name: str) -> str:
    x, y = WIDTH - RIGHT + 10, TOP + 10 + 18 * number
    return f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>' + _text(
        x + 15, y, name, "start"
    )


def _text(x: float, y: float, said: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(said)}</text>'


def _write(path: Path, title: str, drawn: Sequence[str]) -> None:
    body = "\n".join(drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="11">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )
