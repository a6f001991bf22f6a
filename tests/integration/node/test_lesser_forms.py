"""A model that the network chose gives way to a smaller form; one its owner named does not."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from tests.integration.node.test_fitting import MEBI, SMALL, Tight, settled
from tests.integration.node.test_llamacpp_cards import CardPc
from tests.parts.fake_llama_server import StandInLauncher, make_server, tell
from tests.parts.job_caller import until
from tests.unit.catalog.test_gguf import gguf, u32, word

from garage_ai.catalog import (
    DEFAULT_MODEL,
    Catalog,
    InFolder,
    Manifest,
    ModelFile,
    OnProgress,
)
from garage_ai.node.engines import llamacpp_room, llamacpp_setup
from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import OnLine, Startable
from garage_ai.node.engines.llama_server import ServerOptions
from garage_ai.node.engines.llamacpp import LlamaEngine
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.engines.llamacpp_setup import llama_options, make_llama
from garage_ai.node.engines.port import Device
from garage_ai.node.errors import NoRoom
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.bounds import Bounds
from garage_ai.node.logs import BoundedLog

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.slow]

NAMED = Choice(models=("big",))
PICKED = msgspec.structs.replace(NAMED, picked=True)
ONE = {"context": 4096, "slots": 1}
NEVER = gguf(
    word("general.architecture", "llama"),
    u32("llama.block_count", 1000),
    u32("llama.embedding_length", 8192),
    u32("llama.attention.head_count", 64),
    u32("llama.context_length", 4096),
    u32("split.count", 2),
)
"""The header of a model whose cache for one conversation takes more than a hundred GiB."""


class FullCard(StandInLauncher):
    """A card whose memory does not suffice for the large model."""

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        assert isinstance(what, ServerOptions)
        ends = {"then": ["cudaMalloc failed: out of memory"], "ends": 1}
        tell(self.script.parent, says="all-layers", **(ends if what.name == "big" else {}))
        return await super().launch(what, folder, log, on_line)


@pytest.fixture
def pc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CardPc:
    """With an RTX 3090, or with `gpus=("none",)` its processor."""
    return CardPc(tmp_path, monkeypatch)


def known(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, *, beside: bool) -> None:
    """Have two forms known: the small model, and a larger one with a file of its own or beside."""
    shipped = Catalog.load().by_name(DEFAULT_MODEL)
    assert shipped is not None
    name = "beside.txt" if beside else "big.gguf"
    (folder / name).write_bytes(content)
    own = ModelFile(path=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    big = msgspec.structs.replace(
        shipped,
        id="big",
        name="big",
        files=(*shipped.files, own) if beside else (own,),
        sources=(*shipped.sources, InFolder(folder=str(folder))),
    )
    forms: list[Manifest] = [big, msgspec.structs.replace(shipped, id=SMALL, name=SMALL)]
    monkeypatch.setattr(Catalog, "load", lambda *_: Catalog(forms))


def names(engine: LlamaEngine) -> list[str]:
    return [offer.name for offer in engine.offers]


async def test_what_no_empty_card_holds_is_not_waited_for(
    pc: CardPc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its file is here and says so, the smaller form is planned at once."""
    known(tmp_path, monkeypatch, NEVER + bytes(100 * MEBI), beside=False)
    options = await llama_options(PICKED, pc.folder)
    assert isinstance(options, ServerOptions)
    assert options.name == SMALL
    with pytest.raises(NoRoom, match="big needs") as refused:
        await llama_options(NAMED, pc.folder)
    assert not refused.value.reason


async def test_what_no_empty_memory_holds_is_not_waited_for(
    pc: CardPc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on the processor."""
    known(tmp_path, monkeypatch, bytes(4 * MEBI), beside=True)
    small = Catalog.load().by_name(SMALL)
    assert small is not None
    bounds = Bounds(memory=small.size + 514 * MEBI)
    monkeypatch.setattr(llamacpp_room, "read_bounds", lambda: bounds)
    on = {"gpus": ("none",), "sandbox": "none"}
    options = await llama_options(msgspec.structs.replace(PICKED, **on), pc.folder)
    assert isinstance(options, LlamaOptions)
    assert options.name == SMALL
    with pytest.raises(NoRoom, match="big needs"):
        await llama_options(msgspec.structs.replace(NAMED, **on), pc.folder)


async def test_a_card_without_memory_for_it_gets_the_smaller_form(
    pc: CardPc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same card, under its own name, and its owner is told why."""
    known(tmp_path, monkeypatch, b"beside", beside=True)
    launcher = FullCard(make_server(tmp_path / "server"))
    choice = msgspec.structs.replace(PICKED, **ONE)
    engine = await make_llama(choice, pc.folder, launcher=launcher)
    try:
        assert names(engine) == ["big"]
        await engine.start()
        await until(lambda: engine.state in ("ready", "failed"), seconds=60)
        assert (engine.state, names(engine), launcher.started) == ("ready", [SMALL], 2)
        assert engine.smaller.en.startswith("small instead of big")
        (card,) = (await llama_options(choice, pc.folder)).gpus  # type: ignore[union-attr]
        assert engine.device == Device((card,), 31, 31)
    finally:
        await engine.stop()


async def test_a_smaller_form_waits_for_room_that_another_holds(
    pc: CardPc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not given up for a game that will end."""
    known(tmp_path, monkeypatch, b"beside", beside=True)
    launcher = FullCard(make_server(tmp_path / "server"))
    held, plan = [True], llamacpp_setup._options

    async def options(
        choice: Choice, folder: NodeFolder, on_progress: OnProgress | None
    ) -> LlamaOptions | ServerOptions:
        if SMALL in choice.models and held:
            held.clear()
            raise NoRoom("a game holds it", reason="a game holds it")
        return await plan(choice, folder, on_progress)

    choice = msgspec.structs.replace(PICKED, **ONE)
    engine = await make_llama(choice, pc.folder, launcher=launcher)
    monkeypatch.setattr(llamacpp_setup, "_options", options)
    try:
        await engine.start()
        await until(lambda: engine.state in ("ready", "failed"), seconds=60)
        assert (engine.state, names(engine), held) == ("ready", [SMALL], [])
    finally:
        await engine.stop()


async def test_what_an_owner_named_is_never_replaced(
    pc: CardPc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, with what can be done."""
    known(tmp_path, monkeypatch, b"beside", beside=True)
    launcher = FullCard(make_server(tmp_path / "server"))
    choice = msgspec.structs.replace(NAMED, **ONE)
    engine = await make_llama(choice, pc.folder, launcher=launcher)
    try:
        await engine.start()
        await until(lambda: engine.state in ("ready", "failed"), seconds=60)
        assert (engine.state, names(engine), launcher.started) == ("failed", ["big"], 1)
        assert "gai models --fits" in engine.reason
    finally:
        await engine.stop()


async def test_a_processor_without_memory_for_it_gets_the_smaller_form(
    pc: CardPc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a card."""
    known(tmp_path, monkeypatch, b"beside", beside=True)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    choice = msgspec.structs.replace(PICKED, **ONE, gpus=("none",), sandbox="none")
    launcher = Tight(330 * MEBI)
    engine = await make_llama(choice, pc.folder, launcher=launcher)
    try:
        await settled(engine)
        assert (engine.state, names(engine)) == ("ready", [SMALL])
        assert len(launcher.tried) == 2
        assert engine.smaller.en.startswith("small instead of big")
    finally:
        await engine.stop()
