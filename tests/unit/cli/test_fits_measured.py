"""What was measured on this PC takes the formula's place in `gai models --fits`."""

from pathlib import Path

import msgspec
from msgspec.structs import replace
from typer.testing import CliRunner

from garage_ai.catalog import KNOWN, QUANTISATIONS, Catalog, Fit, Place, plan
from garage_ai.cli.app import make_app
from garage_ai.cli.fits_measured import measured_of
from garage_ai.cli.models_fits import FitsShown
from garage_ai.node.fitting.book import Book, Peak, Subject

GIB = 1 << 30
LLAMA = KNOWN["Llama-3.1-8B-Instruct"]
SUBJECT = Subject("cpu: a processor", "", "llamacpp 0.2", "sha256:" + "a" * 64)
PEAK = Peak(subject=SUBJECT, context=4096, slots=2, peak=3 * GIB, at=1.0, model="m")


def test_what_was_measured_here_is_shown_here_and_for_no_other_card(tmp_path: Path) -> None:
    """In a table of its own, with engine and processor, and in JSON."""
    Book(tmp_path).measured(PEAK)
    words = ["models", "--fits", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(make_app(), words)
    assert done.exit_code == 0, done.output
    assert "measured here, at most:" in done.output
    assert "llamacpp 0.2" in done.output
    told = CliRunner().invoke(make_app(), [*words, "--json"])
    (measured,) = msgspec.json.decode(told.stdout, type=FitsShown).measured
    assert (measured.model, measured.context, measured.peak) == ("m", 4096, 3 * GIB)
    other = CliRunner().invoke(make_app(), [*words, "--json", "--card", "RTX 3060"])
    assert msgspec.json.decode(other.stdout, type=FitsShown).measured == ()


def test_a_form_of_a_published_model_is_known_by_its_name() -> None:
    """With its quantisation behind the name, or without; other models say nothing of it."""
    known = next(iter(Catalog.load()))
    form = replace(known, id="x", name="llama-3.1-8b-instruct-Q4_K_M", quantisation="Q4_K_M")
    peaks = [replace(PEAK, model=form.name), replace(PEAK, model=known.name, context=1024)]
    assert measured_of(LLAMA, peaks, [form, known]) == {("Q4_K_M", 4096, 2): 3 * GIB}
    assert measured_of(KNOWN["Qwen2.5-7B-Instruct"], peaks, [form, known]) == {}


def test_the_planner_takes_a_measured_figure_before_its_own() -> None:
    """Either way: what took less than computed fits, what took more does not."""
    forms = [QUANTISATIONS["Q4_K_M"]]
    places = [Place("card", 8 * GIB)]
    computed = plan(LLAMA.shape, forms, places)
    assert isinstance(computed, Fit)
    assert (computed.measured, computed.needed > 5 * GIB) == (None, True)
    key = ("Q4_K_M", computed.context, computed.sequences)
    same = plan(LLAMA.shape, forms, places, measured={key: 6 * GIB})
    assert isinstance(same, Fit)
    assert (same.measured, same.needed) == (6 * GIB, 6 * GIB)
    assert (same.context, same.sequences) == (computed.context, computed.sequences)
    less = plan(LLAMA.shape, forms, places, measured={key: 9 * GIB})
    assert isinstance(less, Fit)
    assert (less.context, less.sequences) != (computed.context, computed.sequences)
