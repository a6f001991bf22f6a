"""The agent's HTTP to an engine, on real sockets and on both event loops."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.parts.job_caller import until
from tests.parts.mirror import make_certificate
from tests.parts.scripted_engine import PATIENCE, Asked, ScriptedEngine, Serve, Talk, answering

from garage_ai.node.engines import http_pool
from garage_ai.node.engines import link as link_module
from garage_ai.node.engines.http_connection import HIGH_WATER
from garage_ai.node.engines.link import EngineLink, HttpAnswer
from garage_ai.node.errors import EngineLost, EngineProtocol, EngineTimeout, NotPossible

pytestmark = pytest.mark.anyio

BODY = b'{"model":"m"}'
YES = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nyes"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"

MakeEngine = Callable[..., Awaitable[ScriptedEngine]]
OpenLink = Callable[..., EngineLink]


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run each test on both loops: their transports differ in much."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def make_engine() -> AsyncIterator[MakeEngine]:
    """Start engines that are gone at the end."""
    engines = []

    async def make(*scripts: Serve, **options: Any) -> ScriptedEngine:
        path = options.pop("socket", None)
        engine = ScriptedEngine(*scripts, **options)
        engines.append(engine)
        await engine.start(path)
        return engine

    yield make
    for engine in engines:
        await engine.stop()


@pytest.fixture
async def make_link() -> AsyncIterator[OpenLink]:
    """Open links that are closed at the end."""
    links = []

    def make(engine: ScriptedEngine | None = None, base: str = "", **options: Any) -> EngineLink:
        link = EngineLink(base or f"http://127.0.0.1:{engine.port if engine else 0}", **options)
        link.open()
        links.append(link)
        return link

    yield make
    for link in links:
        await link.close()


async def whole(answer: HttpAnswer) -> bytes:
    """Read an answer to its end and let go of it."""
    async with asyncio.timeout(PATIENCE):
        body = b""
        while part := await answer.read():
            body += part
    assert answer.at_end
    answer.close()
    return body


async def ask(link: EngineLink) -> bytes:
    """Put a request and read the whole answer."""
    async with asyncio.timeout(PATIENCE):
        return await whole(await link.post("chat", BODY))


async def test_a_request_as_the_engine_sees_it(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """Path with its prefix, host, key, kind and length; nothing else is told."""
    asked: list[Asked] = []
    engine = await make_engine(answering(YES, asked=asked))
    link = make_link(base=f"http://127.0.0.1:{engine.port}/pre%20fix/ä", key="geheim")
    answer = await link.post("chat", BODY)
    assert (answer.status, answer.content_type) == (200, "a/b")
    assert await whole(answer) == b"yes"
    assert asked == [
        Asked(
            "POST /pre%20fix/%C3%A4/v1/chat/completions HTTP/1.1",
            {
                "host": f"127.0.0.1:{engine.port}",
                "authorization": "Bearer geheim",
                "content-type": "application/json",
                "content-length": str(len(BODY)),
            },
            BODY,
        )
    ]


def test_a_key_or_an_address_that_no_header_can_carry() -> None:
    """It is refused before anything is sent."""
    with pytest.raises(NotPossible):
        EngineLink("http://127.0.0.1:1", key="x\r\nX-Evil: 1")
    with pytest.raises(NotPossible):
        EngineLink("http://ä" + "b" * 80 + ".example:1")


async def test_a_connection_is_asked_again(make_engine: MakeEngine, make_link: OpenLink) -> None:
    """One after the other travels on one connection, and side by side on two."""
    engine = await make_engine(answering(YES, YES, YES))
    link = make_link(engine)
    first = await link.post("chat", BODY)
    second = await link.post("chat", BODY)
    assert link.open_answers == 2
    assert [await whole(first), await whole(second)] == [b"yes", b"yes"]
    assert link.open_answers == 0
    assert engine.connections == 2
    assert await ask(link) == b"yes"
    assert engine.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        YES.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        YES.replace(b"1.1", b"1.0"),
        YES + b"and more",
    ],
)
async def test_a_connection_that_is_not_asked_again(
    make_engine: MakeEngine, make_link: OpenLink, answer: bytes
) -> None:
    """The engine said so, or said more than was asked."""
    engine = await make_engine(answering(answer, answer))
    link = make_link(engine)
    for number in (1, 2):
        assert await ask(link) == b"yes"
        assert engine.connections == number


async def test_an_answer_that_ends_with_its_connection(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """Without a length the hang-up is the end."""

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\n", b"a", b"b")

    assert await ask(make_link(await make_engine(serve))) == b"ab"


async def test_a_kept_connection_that_the_engine_had_closed(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """A request that met the hang-up is put once more, on a new connection."""

    async def hang_up_on_the_second(talk: Talk) -> None:
        await talk.request()
        await talk.say(YES)
        await talk.request()

    engine = await make_engine(hang_up_on_the_second, answering(YES))
    link = make_link(engine)
    assert [await ask(link), await ask(link)] == [b"yes", b"yes"]
    assert engine.connections == 2


async def test_a_request_is_put_once_more_at_most(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """Several kept connections that are dead cost one retry, and that is on a fresh one."""
    seen: list[Asked] = []

    async def hang_up_on_the_second(talk: Talk) -> None:
        seen.append(await talk.request())
        await talk.say(YES)
        seen.append(await talk.request())

    async def hang_up(talk: Talk) -> None:
        seen.append(await talk.request())

    engine = await make_engine(hang_up_on_the_second, hang_up_on_the_second, hang_up)
    link = make_link(engine)
    both = [await link.post("chat", BODY) for _ in range(2)]
    for answer in both:
        await whole(answer)
    with pytest.raises(EngineLost):
        await ask(link)
    assert engine.connections == 3
    assert len(seen) == 4


@pytest.mark.parametrize("begun", [b"H", YES[:-1], b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_had_begun_is_not_asked_for_again(
    make_engine: MakeEngine, make_link: OpenLink, begun: bytes
) -> None:
    """After one byte of an answer the request was heard; a second one could be answered twice."""

    async def break_off_the_second(talk: Talk) -> None:
        await talk.request()
        await talk.say(YES)
        await talk.request()
        await talk.say(begun)

    engine = await make_engine(break_off_the_second, answering(YES))
    link = make_link(engine)
    assert await ask(link) == b"yes"
    with pytest.raises(EngineLost):
        await ask(link)
    assert engine.connections == 1


async def test_a_new_connection_that_is_closed_is_not_tried_again(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """An engine that hangs up on a fresh connection is lost."""

    async def hang_up(talk: Talk) -> None:
        await talk.request()

    engine = await make_engine(hang_up)
    with pytest.raises(EngineLost):
        await ask(make_link(engine))
    assert engine.connections == 1


async def test_an_engine_that_dies_in_the_middle(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """What it said is read, then it is lost."""

    async def die(talk: Talk) -> None:
        await talk.request()
        await talk.say(ENDLESS)
        talk.reset()

    answer = await make_link(await make_engine(die)).post("chat", BODY)
    async with asyncio.timeout(PATIENCE):
        assert await answer.read() == b"abc"
        with pytest.raises(EngineLost):
            await answer.read()
    assert not answer.at_end
    answer.close()


async def test_a_kept_connection_ends_before_the_engine_ends_it(
    make_engine: MakeEngine, make_link: OpenLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits too long is closed from here, and no request goes out on it."""
    monkeypatch.setattr(http_pool, "KEEP_ALIVE_SECONDS", 0.05)
    gone = asyncio.Semaphore(0)

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(YES)
        assert await talk.left() == b""
        gone.release()

    engine = await make_engine(serve)
    link = make_link(engine)
    both = [await link.post("chat", BODY) for _ in range(2)]
    for answer in both:
        await whole(answer)
    async with asyncio.timeout(PATIENCE):
        for _ in both:
            await gone.acquire()
    assert await ask(link) == b"yes"
    assert engine.connections == 3


async def test_words_that_nobody_asked_for_end_a_kept_connection(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """They would be taken for the answer to the next request."""
    idle, gone = asyncio.Event(), asyncio.Event()

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(YES)
        await idle.wait()
        await talk.say(YES.replace(b"yes", b"bad"))
        await talk.left()
        gone.set()

    engine = await make_engine(serve, answering(YES))
    link = make_link(engine)
    assert await ask(link) == b"yes"
    idle.set()
    async with asyncio.timeout(PATIENCE):
        await gone.wait()
    assert await ask(link) == b"yes"
    assert engine.connections == 2


async def test_an_answer_before_the_request_was_read(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """It is given, but the rest of that request must not stand before the next one."""

    async def refuse(talk: Talk) -> None:
        await talk.head()
        await talk.say(YES.replace(b"200 OK", b"413 Too Large"))
        await asyncio.Event().wait()

    engine = await make_engine(refuse, answering(YES))
    link = make_link(engine)
    async with asyncio.timeout(PATIENCE):
        answer = await link.post("chat", b"x" * 32_000_000)
    assert answer.status == 413
    assert await whole(answer) == b"yes"
    assert await ask(link) == b"yes"
    assert engine.connections == 2


async def test_a_slow_reader_holds_the_engine(make_engine: MakeEngine, make_link: OpenLink) -> None:
    """What is not read is not fetched: the engine stands still, and goes on later."""
    piece, count = b"x" * 262_144, 256
    sent = 0
    stuck = asyncio.Event()

    async def serve(talk: Talk) -> None:
        nonlocal sent
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            said = asyncio.ensure_future(talk.say(piece))
            done, _ = await asyncio.wait({said}, timeout=0.2)
            if not done:
                stuck.set()
            await said
            sent += 1
        await talk.left()

    answer = await make_link(await make_engine(serve)).post("chat", BODY)
    async with asyncio.timeout(PATIENCE):
        await stuck.wait()
        assert sent < count
        got = 0
        while part := await answer.read():
            assert len(part) <= HIGH_WATER + 262_144
            got += len(part)
    assert got == len(piece) * count
    answer.close()


def piece(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


@pytest.mark.parametrize("end", [b"0\r\n\r\n", None], ids=["the end", "a loss"])
async def test_a_burst_is_given_as_one(
    make_engine: MakeEngine,
    make_link: OpenLink,
    monkeypatch: pytest.MonkeyPatch,
    end: bytes | None,
) -> None:
    """What follows closely waits for what follows it, until the answer ends, however it does."""
    monkeypatch.setattr(link_module, "BURST_SECONDS", 10 * PATIENCE)
    begun, goes_on, ends = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(ENDLESS)
        await goes_on.wait()
        await talk.say(piece(b"def"))
        begun.set()
        await ends.wait()
        await talk.say(piece(b"ghi"))
        if end is None:
            talk.reset()
            return
        await talk.say(end)
        await talk.left()

    link = make_link(await make_engine(serve))
    async with asyncio.timeout(PATIENCE):
        answer = await link.post("chat", BODY)
        assert await answer.read() == b"abc"
        goes_on.set()
        rest = asyncio.ensure_future(answer.read())
        await begun.wait()
        assert not rest.done()
        ends.set()
        assert (await rest).startswith(b"def")
        if end is None:
            with pytest.raises(EngineLost):
                await answer.read()
        else:
            assert answer.at_end
            assert rest.result() == b"defghi"
    answer.close()


async def test_a_burst_is_not_waited_out(
    make_engine: MakeEngine, make_link: OpenLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not end is given after its time."""
    monkeypatch.setattr(link_module, "BURST_SECONDS", 0.05)

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(ENDLESS, piece(b"def"))
        await talk.left()

    link = make_link(await make_engine(serve))
    async with asyncio.timeout(PATIENCE):
        answer = await link.post("chat", BODY)
        got = await answer.read()
        while got != b"abcdef":
            got += await answer.read()
    answer.close()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", ENDLESS])
async def test_who_stops_waiting_hangs_up(
    make_engine: MakeEngine, make_link: OpenLink, said: bytes
) -> None:
    """A cancelled request closes its connection at once, before its answer and in the middle."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(said)
        asked.set()
        await talk.left()
        gone.set()

    link = make_link(await make_engine(serve))

    async def read_on() -> None:
        answer = await link.post("chat", BODY)
        try:
            while await answer.read():
                pass
        finally:
            answer.close()
            answer.close()

    task = asyncio.ensure_future(read_on())
    async with asyncio.timeout(PATIENCE):
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
    assert link.open_answers == 0


async def test_the_end_of_a_link_breaks_what_runs(
    make_engine: MakeEngine, make_link: OpenLink
) -> None:
    """Answers under way are lost, requests after it are refused, and it may begin again."""

    async def serve(talk: Talk) -> None:
        await talk.request()
        await talk.say(ENDLESS)
        await talk.left()

    link = make_link(await make_engine(serve))
    answer = await link.post("chat", BODY)
    assert await answer.read() == b"abc"
    waiting = asyncio.ensure_future(answer.read())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await link.close()
        with pytest.raises(EngineLost):
            await waiting
    answer.close()
    with pytest.raises(EngineLost):
        await link.post("chat", BODY)
    link.open()
    again = await link.post("chat", BODY)
    assert await again.read() == b"abc"
    again.close()


@pytest.mark.parametrize("status", [301, 302, 304, 307])
async def test_a_redirect_is_refused(
    make_engine: MakeEngine, make_link: OpenLink, status: int
) -> None:
    """An engine sends nobody elsewhere."""
    head = f"HTTP/1.1 {status} Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    link = make_link(await make_engine(answering(head.encode())))
    with pytest.raises(EngineProtocol):
        await ask(link)
    assert link.open_answers == 0


async def test_what_is_no_http(make_engine: MakeEngine, make_link: OpenLink) -> None:
    """Another service on the engine's port is not understood, and nothing of it is kept."""

    async def serve(talk: Talk) -> None:
        await talk.say(b"SSH-2.0-OpenSSH_9.2\r\n")
        await talk.left()

    with pytest.raises(EngineProtocol):
        await ask(make_link(await make_engine(serve)))


async def test_a_unix_socket_gets_a_connection_for_each_request(
    make_engine: MakeEngine, make_link: OpenLink, tmp_path: Path
) -> None:
    """Even if the engine would keep it; llama.cpp closes without saying so."""
    asked: list[Asked] = []
    path = tmp_path / "e.sock"
    engine = await make_engine(answering(YES, asked=asked), socket=path)
    link = make_link(base="http://engine", socket=lambda: str(path))
    assert [await ask(link), await ask(link)] == [b"yes", b"yes"]
    assert engine.connections == 2
    assert asked[0].headers["host"] == "engine"
    assert asked[0].headers["connection"] == "close"


async def test_small_pages(make_engine: MakeEngine, make_link: OpenLink) -> None:
    """The agent's own questions have a time limit and a bound, and keep no connection."""
    asked: list[Asked] = []

    async def silent(talk: Talk) -> None:
        await talk.request()
        await talk.left()

    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000
    engine = await make_engine(
        answering(YES, asked=asked), answering(YES, asked=asked), answering(huge), silent
    )
    link = make_link(engine)
    assert await link.get("/v1/models", seconds=PATIENCE) == (200, b"yes")
    assert await link.probe("completions", BODY, seconds=PATIENCE) == (200, b"yes")
    assert [each.line.split()[:2] for each in asked] == [
        ["GET", "/v1/models"],
        ["POST", "/v1/completions"],
    ]
    assert [each.headers["connection"] for each in asked] == ["close", "close"]
    with pytest.raises(EngineProtocol):
        await link.get("/v1/models", seconds=PATIENCE)
    assert engine.connections == 3
    # How far it came in its time is not told: perhaps not even to the engine.
    with pytest.raises(EngineTimeout):
        await link.get("/v1/models", seconds=0.05)
    assert link.open_answers == 0


async def test_an_engine_that_is_not_there(
    make_link: OpenLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody on the port, no such name, no such socket: it is lost."""

    # A machine's own resolver may take longer to say so than a connection may take.
    async def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(EngineLost):
            await ask(make_link(base=f"http://127.0.0.1:{port}"))
    with pytest.raises(EngineLost):
        await ask(make_link(base="http://nobody.invalid:80"))
    with pytest.raises(EngineLost):
        await ask(make_link(base="http://engine", socket=lambda: "/nowhere/e.sock"))


async def test_an_engine_by_a_name_of_several_addresses(
    make_engine: MakeEngine, make_link: OpenLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address at which nobody answers does not keep the next one from being tried."""
    engine = await make_engine(answering(YES, YES))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        dead = bound.getsockname()

        loop = asyncio.get_running_loop()
        known = loop.getaddrinfo

        async def found(host: str, port: int, **options: Any) -> list[Any]:
            if host != "rig.local":
                return await known(host, port, **options)
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, dead), (*kind, ("127.0.0.1", port))]

        monkeypatch.setattr(loop, "getaddrinfo", found)
        link = make_link(base=f"http://rig.local:{engine.port}")
        assert [await ask(link), await ask(link)] == [b"yes", b"yes"]
    assert engine.connections == 1


@dataclass
class Secured:
    """An engine's side of TLS, and how its certificate comes to be trusted here."""

    tls: ssl.SSLContext
    trust: Callable[[], None]


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secured:
    """Make a certificate for 127.0.0.1."""
    certificate = tmp_path / "engine.pem"
    make_certificate(certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return Secured(tls, lambda: monkeypatch.setenv("SSL_CERT_FILE", str(certificate)))


async def test_tls(make_engine: MakeEngine, make_link: OpenLink, secured: Secured) -> None:
    """A certificate that the system trusts is enough; connections are kept, long answers too."""
    secured.trust()
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    engine = await make_engine(answering(YES, long, YES), tls=secured.tls)
    link = make_link(base=f"https://127.0.0.1:{engine.port}")
    assert await ask(link) == b"yes"
    assert await ask(link) == b"x" * 3_000_000
    assert await ask(link) == b"yes"
    assert engine.connections == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_that_proves_nothing(
    make_engine: MakeEngine, make_link: OpenLink, secured: Secured, host: str
) -> None:
    """One of nobody's, or for another name: no request is sent."""
    if host == "localhost":
        secured.trust()
    asked: list[Asked] = []
    engine = await make_engine(answering(YES, asked=asked), tls=secured.tls)
    with pytest.raises(EngineLost, match="certificate"):
        await ask(make_link(base=f"https://{host}:{engine.port}"))
    assert asked == []


async def test_no_handshake_in_time(
    make_engine: MakeEngine, make_link: OpenLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection has seconds to come about, TLS included."""
    monkeypatch.setattr(http_pool, "CONNECT_SECONDS", 0.05)
    gone = asyncio.Event()

    async def serve(talk: Talk) -> None:
        await talk.left()
        gone.set()

    engine = await make_engine(serve)
    with pytest.raises(EngineTimeout):
        await ask(make_link(base=f"https://127.0.0.1:{engine.port}"))
    async with asyncio.timeout(PATIENCE):
        await gone.wait()


async def test_many_at_once_leave_nothing(make_engine: MakeEngine, make_link: OpenLink) -> None:
    """Requests answered, cut, cancelled and refused side by side: no connection is left open."""
    open_now = 0

    async def serve(talk: Talk) -> None:
        nonlocal open_now
        open_now += 1
        try:
            for answer in (YES, ENDLESS, YES):
                request = await talk.request()
                if request.body == b"cut":
                    return
                await talk.say(answer)
            await talk.left()
        finally:
            open_now -= 1

    engine = await make_engine(serve)
    link = make_link(engine)

    async def one(number: int) -> None:
        try:
            async with asyncio.timeout(0.001 if number % 4 == 3 else 0.1):
                answer = await link.post("chat", b"cut" if number % 4 == 1 else BODY)
                try:
                    while await answer.read():
                        pass
                finally:
                    answer.close()
        except (EngineLost, EngineTimeout, TimeoutError):
            pass

    for _ in range(3):
        await asyncio.gather(*(one(number) for number in range(40)))
    assert link.open_answers == 0
    await link.close()
    await until(lambda: open_now == 0)
