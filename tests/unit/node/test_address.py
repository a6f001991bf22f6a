"""Where an engine listens."""

import pytest

from garage_ai.node.engines.address import Address


@pytest.mark.parametrize(
    ("base", "authority", "prefix"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", ""),
        ("https://rig.lan", "rig.lan", ""),
        ("http://[::1]:8000/llm/", "[::1]:8000", "/llm"),
        ("http://ström.local:80/å b/%20", "xn--strm-7qa.local:80", "/%C3%A5%20b/%20"),
    ],
)
def test_what_a_request_says_of_its_address(base: str, authority: str, prefix: str) -> None:
    """Host and path are spelled so that they can stand in a request."""
    address = Address(base)
    assert (address.authority, address.prefix) == (authority, prefix)


def test_a_name_that_cannot_be_one() -> None:
    """It is found out before anything is dialled."""
    with pytest.raises(UnicodeError):
        Address("http://" + "å" * 70 + ".local")
