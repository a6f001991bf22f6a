"""Clients that hardly read, among others that do."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import MakeLent
from tests.parts.http_caller import DONE, chat_body
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually

LONG = 130_000
"""Chunks of an answer of 23 MB: more than the buffers on its way, which grow to 10 MB a hop."""


class Dawdler(threading.Thread):
    """A client that asks for a long stream and reads a kilobyte a second."""

    def __init__(self, lent: Lent) -> None:
        super().__init__(name="dawdler")
        self._lent = lent
        self._leaves = threading.Event()
        self.received = 0
        # A small window, so that what is not read is soon not sent either.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", lent.product.port))

    def run(self) -> None:
        body = json.dumps(chat_body(MODEL, "Hej", stream=True, max_tokens=LONG)).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gai\r\n"
            f"authorization: Bearer {self._lent.product.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        while not self._leaves.wait(0.1):
            self.received += len(self._socket.recv(100))

    def leave(self) -> None:
        """Hang up."""
        self._leaves.set()
        self.join(10)
        self._socket.close()


def test_a_slow_client_holds_its_own_stream_only(make_lent: MakeLent) -> None:
    """Its node stops reading from the engine for it, and twenty others go on at full speed."""
    lent = make_lent(slots=32)
    assert _twenty(lent) > 0  # warm
    alone = min(_twenty(lent), _twenty(lent))
    dawdler = Dawdler(lent)
    dawdler.start()
    try:
        # The engine itself is held: nothing in between buffers without a bound.
        eventually("a held stream", lambda: lent.engine.state()["held"] == 1)
        # One of six: the machine may be busy with something else in between.
        assert any(_twenty(lent) < 2 * alone + 0.5 for _ in range(6))
        # It may be let go on for a moment, as kernels' buffers grow.
        eventually("a stream still held", lambda: lent.engine.state()["held"] == 1)
        assert dawdler.is_alive()
    finally:
        dawdler.leave()
    eventually("an idle engine", lent.engine.is_idle, 20)
    assert lent.engine.state()["cancelled"] == 1
    assert lent.http.chat(MODEL).status == 200


def _twenty(lent: Lent) -> float:
    """Read twenty streams side by side to their ends, and give the seconds that took."""

    def one(_: int) -> bool:
        with lent.http.stream(MODEL, max_tokens=100) as stream:
            return stream.rest().done

    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(one, range(20)))
    return time.monotonic() - began


def test_a_client_that_stops_reading_for_a_while(own: Lent) -> None:
    """Its node says that it lives meanwhile: the stream is not taken for lost, and comes whole."""
    with own.http.stream(MODEL, max_tokens=LONG) as stream:
        stream.content()
        eventually("a held stream", lambda: own.engine.state()["held"] == 1)
        # Longer than the silence after which a node counts as lost.
        time.sleep(6)
        rest = stream.whole()
    assert rest.endswith(DONE)
    assert rest.count(b"data: ") == LONG  # one was read before, one is [DONE]
