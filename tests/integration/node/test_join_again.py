"""Joining is cut short anywhere, and the same command goes on from there."""

import asyncio
import functools
import hashlib
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.parts.edge import Edge, running_edge
from tests.parts.home import Home
from tests.parts.job_caller import until
from tests.parts.mirror import Mirror, make_certificate, stall_after
from tests.parts.nats import NatsProcess

from garage_ai.catalog import Catalog, Manifest, ModelFile, ModelStore, Progress
from garage_ai.node.errors import GatewayAway
from garage_ai.node.events import Event, Fetching
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.node.join import join
from garage_ai.node.sandbox import build
from garage_ai.node.sandbox.spec import Runtime
from garage_ai.node.serve import prepare
from garage_ai.node.setup import llama_options
from garage_ai.wire.identity import IdentityFolder

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Killed(BaseException):
    """What a power cut is to the program: nothing that follows is done."""


@pytest.fixture
async def edge(tmp_path: Path, nats: NatsProcess) -> AsyncIterator[Edge]:
    """A gateway with real accounts, whose nodes dial a real server with the same keys."""
    async with running_edge(tmp_path, nats_urls=[nats.tcp_url]) as running:
        yield running


@pytest.fixture
async def choice(make_mock: MakeMock) -> Choice:
    """An engine that is there."""
    mock = await make_mock(Options())
    return Choice(engine="external", engine_url=mock.url, models=("mock",))


async def token(edge: Edge) -> str:
    made = await edge.services.tokens.create()
    assert made.secret is not None
    return made.secret


def killed_at(number: int, told: list[Event]) -> Callable[[Event], None]:
    """Listen to the events of a join, and be killed at one of them."""

    def tell(event: Event) -> None:
        told.append(event)
        if len(told) > number:
            raise Killed

    return tell


async def whole(
    edge: Edge, secret: str, folder: NodeFolder, choice: Choice, tell: Callable[[Event], None]
) -> Record:
    """Do what `gai node join` does before it serves."""
    record = await join(edge.url, secret, folder, choice=choice, name="rig", tell=tell)
    await prepare(folder, tell)
    return record


async def test_killed_at_any_event_it_goes_on(edge: Edge, choice: Choice, tmp_path: Path) -> None:
    """The same command with the same token ends as one node, wherever it was cut short."""
    all_told: list[Event] = []
    await whole(edge, await token(edge), NodeFolder(tmp_path / "all"), choice, all_told.append)
    assert len(all_told) >= 7
    for number in range(len(all_told)):
        folder, secret = NodeFolder(tmp_path / f"at-{number}"), await token(edge)
        before = len(edge.network.enrolled)
        with pytest.raises(Killed):
            await whole(edge, secret, folder, choice, killed_at(number, []))
        record = await whole(edge, secret, folder, choice, lambda _: None)
        assert folder.load() == record
        assert folder.identity.load_jwt()
        assert len({each.id for each in edge.network.enrolled[before:]}) == 1


@pytest.mark.parametrize("place", ["answered", "recorded", "kept"])
async def test_killed_while_it_enrols(
    edge: Edge, choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The token is used up by then; the same one still gives the same node."""
    folder, secret = NodeFolder(tmp_path / "node"), await token(edge)
    owner, name = {
        "answered": (GatewayClient, "enrol"),
        "recorded": (NodeFolder, "save"),
        "kept": (IdentityFolder, "save_jwt"),
    }[place]
    genuine = getattr(owner, name)

    def cut(*words: object, **more: object) -> object:
        done = genuine(*words, **more)
        if not asyncio.iscoroutine(done):
            raise Killed

        async def answered() -> None:
            await done
            raise Killed

        return answered()

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cut)
        with pytest.raises(Killed):
            await whole(edge, secret, folder, choice, lambda _: None)
    (first,) = edge.network.enrolled
    record = await whole(edge, secret, folder, choice, lambda _: None)
    assert record.node == first.id
    assert {each.id for each in edge.network.enrolled} == {first.id}


async def test_enrolled_before_the_jwt_was_kept_it_needs_no_token(
    edge: Edge, choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key proves who it is; with the gateway away it says so and waits for it."""
    folder = NodeFolder(tmp_path / "node")
    record = await whole(edge, await token(edge), folder, choice, lambda _: None)
    (folder.path / "node.jwt").unlink()
    with monkeypatch.context() as patch:

        async def away(*_: object) -> None:
            raise GatewayAway("away")

        patch.setattr(GatewayClient, "renew", away)
        with pytest.raises(GatewayAway):
            await whole(edge, "", folder, choice, lambda _: None)
    again = await whole(edge, "", folder, choice, lambda _: None)
    assert again.node == record.node
    assert folder.identity.load_jwt()


async def test_cut_short_and_given_another_token(
    edge: Edge, choice: Choice, tmp_path: Path
) -> None:
    """Whose first answer was lost may come back with a new token: the key says which node it is."""
    folder = NodeFolder(tmp_path / "node")
    first = await whole(edge, await token(edge), folder, choice, lambda _: None)
    for name in ("identity.json", "node.jwt"):
        (folder.path / name).unlink()
    second = await whole(edge, await token(edge), folder, choice, lambda _: None)
    assert second.node == first.node


async def test_a_half_fetched_model_is_fetched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle: the next time only the rest is fetched."""
    certificate = tmp_path / "mirror.pem"
    make_certificate(certificate)
    trusting = functools.partial(
        ModelStore, tls=ssl.create_default_context(cafile=str(certificate))
    )
    monkeypatch.setattr("garage_ai.node.engines.llamacpp_setup.ModelStore", trusting)
    mirror = Mirror(certificate)
    await mirror.start()
    model = manifest_of(mirror)
    monkeypatch.setattr(Catalog, "load", lambda *_: Catalog([model]))
    folder = NodeFolder(tmp_path / "node")
    reached = asyncio.Event()
    mirror.script.append(stall_after(2_000_000, reached))
    try:
        fetching = asyncio.create_task(llama_options(Choice(models=(model.name,)), folder))
        await asyncio.wait_for(reached.wait(), 30)
        part = await until_some(folder.path)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        kept = part.stat().st_size
        seen: list[Progress] = []
        options = await llama_options(Choice(models=(model.name,)), folder, seen.append)
    finally:
        await mirror.stop()
    assert kept > 0
    assert mirror.requests[1].http_range.start == kept
    assert options.weights.read_bytes() == mirror.content
    assert all(Fetching(each).progress.total == len(mirror.content) for each in seen)


def manifest_of(mirror: Mirror) -> Manifest:
    sha256 = hashlib.sha256(mirror.content).hexdigest()
    file = ModelFile(path="m.gguf", size=len(mirror.content), sha256=sha256)
    return Manifest(
        id="small",
        name="small",
        family="test",
        kind="chat",
        context_length=4096,
        parameters=1,
        quantisation="q4",
        licence="none",
        template_digest=None,
        tokenizer_digest=None,
        files=(file,),
        sources=(mirror.source,),
    )


async def until_some(home: Path) -> Path:
    """Wait until bytes of a download are on disk."""

    def begun() -> list[Path]:
        return [each for each in home.rglob(".*.part") if each.stat().st_size]

    await until(lambda: bool(begun()))
    return begun()[0]


async def test_what_a_killed_build_left_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old folder of a build goes, that of one which may go on stays; the build begins anew."""
    old, young = tmp_path / "image-old", tmp_path / "image-young"
    for folder in (old, young):
        (folder / "garage").mkdir(parents=True)
    long_ago = time.time() - 2 * build.BUILD_SECONDS
    os.utime(old, (long_ago, long_ago))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "podman").write_text(
        f'#!/bin/sh\ncase "$*" in *inspect*) echo \'[{{"Id": "{"1" * 64}"}}]\' ;; esac\n'
    )
    (programs / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    runtime = Runtime(
        program="podman", version=(4, 3), rootless=True, cgroups=2, controllers=frozenset()
    )
    built = await build.build_image(runtime, tmp_path, "mine:1")
    assert built.image == "sha256:" + "1" * 64
    assert not old.exists()
    assert young.exists()


@pytest.fixture
async def home(tmp_path: Path, edge: Edge, make_mock: MakeMock) -> AsyncIterator[Home]:
    """A PC whose owner runs a server of his own."""
    made = Home(tmp_path / "home", edge, await make_mock(Options(models="mock")))
    yield made
    made.stop()


async def test_ctrl_c_while_the_gateway_is_silent(home: Home) -> None:
    """It ends at once, with 130 and a word, and leaves nothing that keeps the next one away."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        while await reader.read(4096):
            pass
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = home.engine
    try:
        program = home.start("join", f"http://127.0.0.1:{port}", "gaij_x", *engine)
        await asyncio.wait_for(asked.wait(), 20)
        program.signal(signal.SIGINT)
        await until(lambda: program.ended is not None, 20)
        await asyncio.wait_for(gone.wait(), 20)
    finally:
        server.close()
        await server.wait_closed()
    assert program.ended == 130
    assert "the same command goes on" in program.output()
    assert "Traceback" not in program.output()
    again = await home.join()
    await until(lambda: "serving mock" in again.output(), 30)


async def test_killed_while_it_serves_the_same_command_serves_again(home: Home) -> None:
    """kill -9, and `join` with the used token: the same node."""
    secret = await token(home.edge)
    first = home.start("join", home.edge.url, secret, *home.engine)
    await until(lambda: "serving mock" in first.output(), 30)
    node = await home.node()
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: first.ended is not None)
    again = home.start("join", home.edge.url, secret, *home.engine)
    await until(lambda: "serving mock" in again.output(), 30)
    assert home.folder.load().node == node
    assert len({each.id for each in home.edge.network.enrolled}) == 1
