"""Numbers and moments that are typed."""

import pytest
import typer

from garage_ai.cli import ledger, limits, price
from garage_ai.cli.amounts import in_units
from garage_ai.cli.moments import moment


@pytest.mark.parametrize(
    ("text", "units", "found"),
    [("1.5", 10, 15), ("-2", 10, -20), ("0", 10, 0), ("1e3", 1, 1000), ("9" * 18, 1, 10**18 - 1)],
)
def test_a_number_in_whole_units(text: str, units: int, found: int) -> None:
    """Exactly."""
    assert in_units(text, units) == found


@pytest.mark.parametrize(
    "text",
    ["", "x", "nan", "snan", "-inf", "0.01", "1" * 19, "1e18", "1e9999999", "-1e99999999", "1e-9"],
)
def test_what_is_no_number_of_units(text: str) -> None:
    """What no decimal can hold too, and what would take the PC minutes to write down."""
    with pytest.raises(ValueError, match=r".*"):
        in_units(text, 10)


@pytest.mark.parametrize("text", ["1e9999999", "1e999999", "1" * 30])
def test_amounts_that_nobody_has(text: str) -> None:
    """They are told to be no amounts."""
    for read in (ledger.amount, limits.gai):
        with pytest.raises(typer.BadParameter):
            read(text)
    for read in (price.amount, price.share):
        with pytest.raises(ValueError, match=text):
            read(text)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0001-01-01"])
def test_what_is_no_moment(text: str) -> None:
    """It is told how one is written; what no clock of this PC can show is none either."""
    with pytest.raises(typer.BadParameter, match="write it as 2026-12-01 or 2026-12-01T08:00"):
        moment(text)
