"""Free ports, and who sits on the others."""

import errno
import os
import socket

import pytest

from garage_ai.cli.reason_words import in_swedish
from garage_ai.local import ports
from garage_ai.local.errors import PortTaken, Unfit
from garage_ai.local.ports import check_free, free_run, holder


def test_a_taken_port_names_its_holder() -> None:
    """The message can say which process to look at and which option moves us."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            check_free("127.0.0.1", port, "--port")
    assert caught.value.pid == os.getpid()
    assert caught.value.program
    assert caught.value.option == "--port"


def test_a_port_that_needs_rights_is_not_said_to_be_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever looks for the program that holds it finds none."""

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(ports, "_listen", refused)
    with pytest.raises(Unfit, match=r"443 .* CAP_NET_BIND_SERVICE.* --port$") as told:
        check_free("127.0.0.1", 443, "--port")
    assert in_swedish(str(told.value)).startswith("port 443 är bara för root")


def test_a_free_port_is_free() -> None:
    """What was just free can be had."""
    check_free("127.0.0.1", free_run("127.0.0.1", 1), "--port")


def test_free_ports_in_a_row() -> None:
    """The WebSocket listener sits beside the NATS port."""
    first = free_run("127.0.0.1", 2)
    check_free("127.0.0.1", first, "--nats-port")
    check_free("127.0.0.1", first + 1, "--nats-port")


def test_nobody_holds_a_free_port() -> None:
    """Without a listener there is nobody to name."""
    assert holder(free_run("127.0.0.1", 1)) == (None, None)
