"""What `gai models --fits` knows from this PC itself: what engines really held here."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from garage_ai.catalog import Known, Manifest
from garage_ai.catalog.planner import Measured
from garage_ai.cli.node_run import folder_here
from garage_ai.node.catalogue import known_models
from garage_ai.node.fitting.book import Book, Peak


class MeasuredShown(msgspec.Struct, frozen=True, kw_only=True):
    """The most bytes an engine held here; `full` after a request of its whole context."""

    model: str
    engine: str
    device: str
    driver: str
    context: int
    sequences: int
    peak: int
    full: bool


def peaks_here(data_dir: Path | None) -> tuple[Peak, ...]:
    """Give what was measured by the node that lives here; nothing where none does."""
    return Book(folder_here(data_dir).path).peaks


def models_here(data_dir: Path | None) -> tuple[Manifest, ...]:
    """Give the models that the node that lives here knows."""
    return tuple(known_models(folder_here(data_dir).path))


def shown(peaks: Iterable[Peak]) -> tuple[MeasuredShown, ...]:
    """Put it as it is printed, the newest first."""
    return tuple(
        MeasuredShown(
            model=each.model,
            engine=each.subject.engine,
            device=each.subject.device,
            driver=each.subject.driver,
            context=each.context,
            sequences=each.slots,
            peak=each.peak,
            full=each.full,
        )
        for each in reversed(tuple(peaks))
    )


def measured_of(known: Known, peaks: Sequence[Peak], manifests: Iterable[Manifest]) -> Measured:
    """Give what was measured of a published model: of the catalogue's forms of it, by name.

    A form is called like its model, with or without its quantisation behind.
    """
    names = {each.name: each for each in manifests}
    found: dict[tuple[str, int, int], int] = {}
    for peak in peaks:
        manifest = names.get(peak.model)
        if manifest is not None and _is_form_of(known, manifest):
            found[manifest.quantisation, peak.context, peak.slots] = peak.peak
    return found


def _is_form_of(known: Known, manifest: Manifest) -> bool:
    plain, form = manifest.name.casefold(), f"-{manifest.quantisation.casefold()}"
    return plain.removesuffix(form) == known.shape.name.casefold()


__all__ = ["MeasuredShown", "measured_of", "models_here", "peaks_here", "shown"]
