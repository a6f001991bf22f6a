"""`gai models --fits`: which published models this PC, or another card, could serve."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    RESERVE,
    Card,
    Fit,
    Known,
    Place,
    Refusal,
    Wish,
    find_card,
    known_cards,
    plan,
)
from garage_ai.catalog.planner import GIB, Measured
from garage_ai.cli import fits_measured, output
from garage_ai.cli.errors import Misused
from garage_ai.cli.fits_measured import MeasuredShown
from garage_ai.cli.fits_words import say


class PlaceShown(msgspec.Struct, frozen=True):
    """Room for a model; `factor` is the speed beside the reference card, null where not known.

    `power` is in watts, as the card is shipped.
    """

    name: str
    room: int
    bandwidth: float | None
    factor: float | None
    power: int | None


class ModelShown(msgspec.Struct, frozen=True, kw_only=True):
    """How a model would run, or why not. Bytes; `speed` is an estimate in tokens per second.

    `parameters` in billions, as published by `source`.
    """

    model: str
    parameters: float
    source: str
    fits: bool
    reason: str = ""
    form: str = ""
    form_source: str = ""
    engine: str = ""
    cards: int = 0
    context: int = 0
    sequences: int = 0
    needed: int = 0
    room: int = 0
    weights: int = 0
    cache: int = 0
    speed: float | None = None
    measured: bool = False


class FitsShown(msgspec.Struct, frozen=True):
    """What `gai models --fits --json` prints; `measured` is what engines really held on this PC."""

    estimate: bool
    places: tuple[PlaceShown, ...]
    models: tuple[ModelShown, ...]
    measured: tuple[MeasuredShown, ...] = ()


def show_fits(
    cards: Sequence[str],
    vram: Sequence[float],
    wish: Wish,
    *,
    data_dir: Path | None = None,
    as_json: bool,
) -> None:
    """Plan every known model for the cards named, or for this PC. Raises: Misused."""
    places = [*map(_named, cards), *map(_sized, vram)]
    # What was measured here says nothing of another card.
    peaks = () if places else fits_measured.peaks_here(data_dir)
    places = places or places_here()
    catalog = fits_measured.models_here(data_dir)
    shown = tuple(
        _planned(known, places, wish, fits_measured.measured_of(known, peaks, catalog))
        for known in KNOWN.values()
    )
    measured = fits_measured.shown(peaks)
    if as_json:
        output.write_json(FitsShown(True, tuple(map(_place, places)), shown, measured))
        return
    output.write(say("on", places=", ".join(map(_words, places))))
    rows = [_row(each) for each in shown if each.fits]
    if rows:
        columns = ("model", "form", "engine", "cards", "context", "at_once", "memory", "speed")
        output.write_table([say(f"column.{column}") for column in columns], rows)
    for each in shown:
        if not each.fits:
            output.write(f"{each.model}: {_refusal(each)}")
    if measured:
        output.write(say("measured"))
        heads = ("model", "engine", "device", "context", "at_once", "memory")
        rows_here = [_measured_row(each) for each in measured]
        output.write_table([say(f"column.{head}") for head in heads], rows_here)
    output.remark(say("estimate"))


def _measured_row(shown: MeasuredShown) -> tuple[str, ...]:
    return (
        shown.model,
        shown.engine,
        f"{shown.device} {shown.driver}".strip(),
        str(shown.context),
        str(shown.sequences),
        _gib(shown.peak),
    )


def places_here() -> list[Place]:
    """Give the room on this PC: its cards as they are now, or its memory where it has none."""
    import psutil

    from garage_ai.node.hardware.pc import read_gpus

    found = []
    for gpu in read_gpus().cards:
        card = find_card(gpu.name, gpu.total)
        room = max(0, min(gpu.free, gpu.total - RESERVE))
        found.append(Place(gpu.name, room, card.bandwidth if card else None, gpu.compute))
    if found:
        return found
    room = max(0, int(psutil.virtual_memory().available) - RESERVE)
    return [Place("", room, processor=True)]


def _named(name: str) -> Place:
    card = find_card(name)
    if card is None:
        known = ", ".join(known_cards())
        raise Misused(say("no_such_card", card=name, known=known), say("no_such_card.next"))
    return _of_card(card)


def _of_card(card: Card) -> Place:
    return Place(card.name, card.memory * GIB - RESERVE, card.bandwidth, card.compute)


def _sized(gibibytes: float) -> Place:
    return Place(f"{gibibytes:g} GiB", max(0, int(gibibytes * GIB) - RESERVE))


def _planned(known: Known, places: Sequence[Place], wish: Wish, measured: Measured) -> ModelShown:
    forms = [form for name, form in QUANTISATIONS.items() if name in known.quantisations]
    found = plan(known.shape, forms, places, wish, measured)
    if isinstance(found, Refusal):
        return ModelShown(
            model=known.shape.name,
            parameters=known.published,
            source=known.source,
            fits=False,
            reason=found.reason,
            form=found.quantisation,
            needed=found.needed,
            room=found.room,
        )
    return _fitting(known, found)


def _fitting(known: Known, fit: Fit) -> ModelShown:
    return ModelShown(
        model=known.shape.name,
        parameters=known.published,
        source=known.source,
        fits=True,
        form=fit.quantisation.name,
        form_source=fit.quantisation.source,
        engine=fit.quantisation.engine,
        cards=fit.cards,
        context=fit.context,
        sequences=fit.sequences,
        needed=fit.needed,
        measured=fit.measured is not None,
        room=fit.room,
        weights=fit.weights,
        cache=fit.cache,
        speed=None if fit.speed is None else round(fit.speed, 1),
    )


def _row(shown: ModelShown) -> tuple[str, ...]:
    return (
        shown.model,
        shown.form,
        shown.engine,
        str(shown.cards),
        str(shown.context),
        str(shown.sequences),
        _gib(shown.needed) + (say("here") if shown.measured else ""),
        "" if shown.speed is None else f"{shown.speed:.0f}",
    )


def _refusal(shown: ModelShown) -> str:
    words = {"form": shown.form, "needed": _gib(shown.needed), "room": _gib(shown.room)}
    return say(shown.reason, **words)


def _words(place: Place) -> str:
    if place.processor:
        return say("processor", room=_gib(place.room))
    return say("card", name=place.name, room=_gib(place.room))


def _place(place: Place) -> PlaceShown:
    card = find_card(place.name)
    if card is None or place.bandwidth is None:
        return PlaceShown(place.name, place.room, place.bandwidth, None, None)
    factor = round(card.factor, 3)
    return PlaceShown(place.name, place.room, place.bandwidth, factor, card.power)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"


__all__ = ["places_here", "show_fits"]
