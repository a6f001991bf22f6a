"""What answers datagrams, as a name server does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_EVERY = 0.05


@contextmanager
def answering(place: str) -> Iterator[None]:
    """Send back whatever comes to HOST:PORT."""
    host, _, port = place.rpartition(":")
    over = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, int(port)))
        server.settimeout(_LOOK_EVERY)
        thread = threading.Thread(target=_echo, args=(server, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(5)


def _echo(server: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        try:
            data, peer = server.recvfrom(512)
        except TimeoutError:
            continue
        server.sendto(data, peer)
