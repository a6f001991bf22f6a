"""Where an engine listens."""

import os
import socket
from pathlib import Path

import pytest

from garage_ai.node.engines.address import Address, own_socket
from garage_ai.node.engines.link import listener_of


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


def test_a_link_is_no_socket(tmp_path: Path) -> None:
    """An engine that may write beside its socket cannot lead the agent to somebody else's."""
    real, led = tmp_path / "engine.sock", tmp_path / "led.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(real))
        listening.listen()
        led.symlink_to(real)
        (tmp_path / "file").touch()
        with own_socket(str(real)) as path, socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
        for other in (led, tmp_path / "file", tmp_path / "none"):
            with pytest.raises(OSError), own_socket(str(other)):  # noqa: PT011 - of any kind
                pass
        assert listener_of(str(led)) is None
        assert listener_of(str(real)) == os.getpid()
