"""Reading what a NATS server sends: as nats-py's own parser does, however the bytes are cut."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from garage_ai.wire.reading import MessageParser

WORDS = st.sampled_from(["a", "gai.v1.reply.g.n.1", "MSG", "_INBOX.x"]).map(str.encode)
PAYLOADS = st.sampled_from([b"", b"\r\n", b"MSG a 1 3\r\n", b"x" * 5000, b"PING\r\n", b"\0\xff"])
OTHERS = st.sampled_from(
    [b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Stale Connection'\r\n", b'INFO {"a":1}\r\n']
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Write a message as the server does, with headers or a subject for replies at times."""
    reply = draw(st.none() | WORDS)
    words = [draw(WORDS), b"%d" % draw(st.integers(0, 99)), *([reply] if reply else [])]
    headers = draw(st.sampled_from([b"", b"", b"NATS/1.0 503\r\n\r\n"]))
    body = headers + draw(PAYLOADS)
    kind, sizes = (b"HMSG", [b"%d" % len(headers)]) if headers else (b"MSG", [])
    return b" ".join([kind, *words, *sizes, b"%d" % len(body)]) + b"\r\n" + body + b"\r\n"


class Heard(Client):
    """A client that only notes what its parser tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes) -> None:
        """Note a message that came by the short way."""
        self.told.append((sid, subject, reply, data, None))

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.told.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.told.append("ping")

    async def _process_pong(self) -> None:
        self.told.append("pong")

    async def _process_err(self, err_msg: str) -> None:
        self.told.append(err_msg)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        self.told.append((info, initial_connection))


def read(pieces: list[bytes], *, short: bool) -> list[object]:
    """Give what a parser tells its client of some bytes."""
    heard = Heard()
    parser = MessageParser(heard, heard.take) if short else Parser(heard)

    async def feed() -> None:
        for piece in pieces:
            await parser.parse(piece)

    asyncio.run(feed())
    return heard.told


@given(st.lists(messages() | OTHERS, max_size=8), st.lists(st.integers(0, 20_000), max_size=4))
@example([b"MSG a 1 0\r\n\r\n", b"PING\r\n"], [1, 3])
def test_it_is_read_as_nats_py_reads_it(lines: list[bytes], cuts: list[int]) -> None:
    """Each message and each other word is told once and in order, wherever the bytes are cut."""
    whole = b"".join(lines)
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    pieces = [whole[start:end] for start, end in pairwise(places)]
    assert read(pieces, short=True) == read([whole], short=False)
    assert len(read(pieces, short=True)) == sum(line != b"+OK\r\n" for line in lines)


@pytest.mark.parametrize("words", [b"a 1", b"a x 1", b"a 1 b c 1", b""])
def test_a_line_that_is_no_message_is_refused(words: bytes) -> None:
    """It would else be waited for, for ever."""
    with pytest.raises(ProtocolError):
        read([b"MSG " + words + b"\r\n"], short=True)
