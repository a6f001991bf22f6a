"""Regions: the counties of Sweden, as ISO 3166-2:SE names them."""

from typing import Final, Literal, get_args

County = Literal[
    "SE-AB",
    "SE-AC",
    "SE-BD",
    "SE-C",
    "SE-D",
    "SE-E",
    "SE-F",
    "SE-G",
    "SE-H",
    "SE-I",
    "SE-K",
    "SE-M",
    "SE-N",
    "SE-O",
    "SE-S",
    "SE-T",
    "SE-U",
    "SE-W",
    "SE-X",
    "SE-Y",
    "SE-Z",
]
COUNTIES: Final[frozenset[str]] = frozenset(get_args(County))
COUNTY: Final = "a county of ISO 3166-2:SE, such as SE-AB"
"""What a region is to be, for error messages."""

__all__ = ["COUNTIES", "COUNTY", "County"]
