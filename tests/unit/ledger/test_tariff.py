"""Prices as they are derived from published figures."""

import pytest

from garage_ai.catalog import KNOWN, QUANTISATIONS, Catalog
from garage_ai.ledger.charges import charge
from garage_ai.ledger.models import GAI
from garage_ai.ledger.tariff import (
    STREAMS,
    cards_for,
    price_for,
    price_of_manifest,
    rounded,
    single_stream,
    speeds_of,
    tariff,
    usual_price,
)

EVERY = [(model, form) for model, known in KNOWN.items() for form in known.quantisations]


@pytest.mark.parametrize(("model", "form"), EVERY)
def test_an_hour_of_the_reference_card_is_one_gai(model: str, form: str) -> None:
    """A card that is busy for an hour with either kind of token charges a GAI, within rounding."""
    shape, how = KNOWN[model].shape, QUANTISATIONS[form]
    speeds, price, cards = speeds_of(shape, how), price_for(shape, how), cards_for(shape, how)
    for prompt, answer in [(speeds.prefill * 3600, 0.0), (0.0, speeds.decode * 3600)]:
        cost = charge(price, round(prompt), round(answer))
        assert cost == pytest.approx(cards * GAI, rel=0.05)


@pytest.mark.parametrize(("model", "form"), EVERY)
def test_answers_cost_more_than_prompts(model: str, form: str) -> None:
    """Reading goes many tokens at a time, making one."""
    price = price_for(KNOWN[model].shape, QUANTISATIONS[form])
    assert 0 < price.prompt < price.completion


def test_more_bits_cost_more() -> None:
    """The same model in fewer bits is read faster and fits on fewer cards."""
    shape = KNOWN["Qwen3-32B"].shape
    prices = [price_for(shape, QUANTISATIONS[form]) for form in ("Q4_K_M", "Q8_0", "bf16")]
    assert [each.completion for each in prices] == sorted(each.completion for each in prices)
    assert cards_for(shape, QUANTISATIONS["Q4_K_M"]) == 1
    assert cards_for(shape, QUANTISATIONS["bf16"]) == 3


def test_the_formula_meets_published_runs() -> None:
    """One stream of a 30B with 3B active in Q4_K_M: 110 to 134 tokens/s were published."""
    speed = single_stream(KNOWN["Qwen3-30B-A3B"].shape, QUANTISATIONS["Q4_K_M"])
    assert speed == pytest.approx(122, rel=0.15)
    assert speeds_of(KNOWN["Qwen3-30B-A3B"].shape, QUANTISATIONS["Q4_K_M"]).decode < STREAMS * speed


def test_every_model_of_the_catalogue_has_a_price() -> None:
    """A toy model too: its steps take their time, so it does not cost nothing."""
    found = {note: price for _, price, note in tariff(Catalog.load())}
    assert found["smollm2-135m-instruct"].completion == 140_000
    manifest = next(iter(Catalog.load()))
    assert price_of_manifest(manifest) == found[manifest.name]


def test_what_nobody_knows_costs_like_the_usual_model() -> None:
    """An 8B in four bits, whatever its owner says that it is."""
    assert usual_price() == price_for(KNOWN["Llama-3.1-8B-Instruct"].shape, QUANTISATIONS["Q4_K_M"])


@pytest.mark.parametrize(
    ("amount", "said"), [(0, 0), (7, 7), (99, 99), (104, 100), (105, 110), (834_201, 830_000)]
)
def test_a_price_can_be_said_aloud(amount: int, said: int) -> None:
    """Two figures, halves up."""
    assert rounded(amount) == said
