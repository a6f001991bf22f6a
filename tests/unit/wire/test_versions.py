"""Versions of the agent, as nodes say them."""

import pytest

from garage_ai import __version__
from garage_ai.wire.versions import AgentVersion, agent_version


def test_our_own_is_one() -> None:
    """The version of this very package has a place in the order."""
    version = agent_version(__version__)
    assert version is not None
    assert str(version) == __version__


def test_versions_are_ordered_by_number() -> None:
    """Ten is more than nine, which text would deny."""
    texts = ["0.9.10", "0.10.0", "0.10.9", "0.10.10", "1.0.0", "10.0.0"]
    versions = [agent_version(text) for text in texts]
    assert versions == sorted(version for version in versions if version is not None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.2", "1.2.3.4", "v1.2.3", " 1.2.3", "1.2.3\n", "1.2.3rc1", "1.2.3+x"),
        *(
            "01.2.3",
            "1.-2.3",
            "1.2.\N{SUPERSCRIPT THREE}",
            "\N{ARABIC-INDIC DIGIT ONE}.2.3",
            "1_0.2.3",
            "9999999.0.0",
            "9" * 128,
        ),
    ],
)
def test_anything_else_is_none(text: str) -> None:
    """A node may say what it likes; only a release of ours is compared."""
    assert agent_version(text) is None


def test_the_largest_is_read() -> None:
    """Six digits for each number are more than there will be."""
    assert agent_version("999999.999999.999999") == AgentVersion(999_999, 999_999, 999_999)
