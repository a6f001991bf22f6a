"""Places of this machine that nothing in a sandbox may reach: listeners, reached from outside."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
from tests.parts.datagrams import answering
from tests.parts.hosts import held, run
from tests.parts.waiting import eventually

from garage_ai.node.sandbox import probe

METADATA = "169.254.169.254"


@contextlib.contextmanager
def open_places() -> Iterator[list[str]]:
    """Listen on loopback, the LAN, the clouds' metadata address, and where X11 would; be reached.

    Each port takes datagrams too, and answers them, as a name server would. Who comes while others
    have them open waits: the metadata address is the machine's, and goes with those who made it.
    """
    abstract = f"@gai-test-{os.getpid()}"
    with ExitStack() as stack:
        eventually("that nobody else has them open", lambda: _alone(stack), 200)
        if METADATA not in own_addresses():
            run("ip", "addr", "add", f"{METADATA}/32", "dev", "lo")
            stack.callback(run, "ip", "addr", "del", f"{METADATA}/32", "dev", "lo")
        places = []
        for address in ("127.0.0.1", own_address(), METADATA):
            listener = stack.enter_context(socket.create_server((address, 0)))
            place = f"{address}:{listener.getsockname()[1]}"
            stack.enter_context(answering(place))
            assert probe.connect(place) == "connected"
            assert probe.ask(place).startswith("answered")
            places.append(place)
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind("\0" + abstract[1:])
        unix.listen()
        assert probe.connect(abstract) == "connected"
        yield [*places, abstract]


def _alone(stack: ExitStack) -> bool:
    with ExitStack() as tried:
        ours = tried.enter_context(held("places"))
        if ours:
            stack.push(tried.pop_all())
        return ours


def own_addresses() -> set[str]:
    """List this machine's addresses."""
    links = (link for links in psutil.net_if_addrs().values() for link in links)
    return {link.address for link in links if link.family == socket.AF_INET}


def own_address() -> str:
    """Give an address of this machine that is not loopback: the one by which it reaches others.

    Any other may be that of a network that another test has made, and go with it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(way.getsockname()[0])
