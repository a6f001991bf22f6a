"""From an owner's choice to a vLLM that can be started; a script stands in for its Python."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parts import fake_vllm
from tests.parts.folders import model_folder

from garage_ai.catalog import DEFAULT_MODEL
from garage_ai.node.engines import vllm_python
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.engines.vllm_python import ask_facts
from garage_ai.node.engines.vllm_setup import check_vllm, vllm_fitting, vllm_options
from garage_ai.node.errors import EngineMissing, EngineUnfit, NotPossible
from garage_ai.node.fitting import machines
from garage_ai.node.fitting.book import Book
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.wire.ids import Digest

pytestmark = pytest.mark.anyio

CARD = {
    "name": "NVIDIA GeForce RTX 3090",
    "capability": [8, 6],
    "free": 22 << 30,
    "total": 24 << 30,
}


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


async def test_a_folder_is_planned_for_the_cards_there_are(tmp_path: Path) -> None:
    """Version, device and cards are asked for; the model keeps its digest over a second start."""
    python = fake_vllm.make_python(tmp_path / "env", device="cuda", cards=[CARD, CARD])
    model = model_folder(tmp_path / "Small")
    folder = NodeFolder(tmp_path / "node")
    choice = Choice(
        engine="vllm", models=(str(model),), vllm_python=str(python), slots=3, sandbox="none"
    )
    await check_vllm(choice)
    options = await vllm_options(choice, folder)
    assert (options.name, options.context, options.slots) == ("small", 2048, 3)
    assert (options.tensor_parallel, options.memory_share) == (2, 0.89)
    assert options.folder == model
    assert (await vllm_options(choice, folder)).digest == options.digest


async def test_an_old_version_is_refused_before_anything_else(tmp_path: Path) -> None:
    """Already when the PC joins."""
    python = fake_vllm.make_python(tmp_path / "env", version="0.31.0")
    choice = Choice(engine="vllm", models=("m",), vllm_python=str(python), sandbox="none")
    with pytest.raises(EngineUnfit, match=r"0\.31\.0 is too old"):
        await check_vllm(choice)
    with pytest.raises(EngineUnfit):
        await vllm_options(choice, NodeFolder(tmp_path / "node"))


async def test_a_python_without_vllm_is_told_from_one_that_cannot_tell(tmp_path: Path) -> None:
    """The probe is asked of a real Python that has none; others fail, chatter or hang."""
    with pytest.raises(EngineMissing, match="has no vLLM"):
        await ask_facts(script(tmp_path / "bare", 'exec python3 -I "$@"\n'))
    for number, text in enumerate(("exit 1\n", "echo hello\n", "echo; cat /dev/zero\n")):
        with pytest.raises(EngineUnfit, match="could not say"):
            await ask_facts(script(tmp_path / f"bad{number}", text))
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(EngineMissing, match="cannot be run"):
        await ask_facts(tmp_path / "broken")


async def test_a_python_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that it has started; the owner waits no longer than was said."""
    monkeypatch.setattr(vllm_python, "FACTS_SECONDS", 0.5)
    hanging = script(tmp_path / "hang", "sleep 60 & sleep 60\n")
    async with asyncio.timeout(20):
        with pytest.raises(EngineUnfit, match=r"within 0\.5 s"):
            await ask_facts(hanging)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(engine="vllm"), "--model once"),
        (Choice(engine="vllm", models=("a", "b")), "--model once"),
        (Choice(engine="vllm", models=("a",), engine_url="http://h/v1"), "--engine external"),
        (Choice(engine="vllm", models=("no/such",)), "no model no/such for vLLM"),
        (Choice(engine="vllm", models=(DEFAULT_MODEL,)), "--engine llamacpp"),
        (Choice(engine="vllm", models=("{model}",), chat_template="/no"), "no chat template"),
        (Choice(engine="vllm", models=("{coded}",)), "code of its own"),
    ],
)
async def test_what_cannot_be_served_is_said(tmp_path: Path, choice: Choice, words: str) -> None:
    """Each refusal names what the owner can change."""
    python = fake_vllm.make_python(tmp_path / "env")
    homes = {
        "{model}": str(model_folder(tmp_path / "m")),
        "{coded}": str(model_folder(tmp_path / "c", auto_map={"AutoModel": "e.M"})),
    }
    asked = Choice(
        engine="vllm",
        engine_url=choice.engine_url,
        models=tuple(homes.get(name, name) for name in choice.models),
        vllm_python=str(python),
        chat_template=choice.chat_template,
        sandbox="none",
    )
    with pytest.raises(NotPossible, match=words):
        await vllm_options(asked, NodeFolder(tmp_path / "node"))


async def test_its_room_is_that_of_the_cards_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a measurement says goes by the card it was made on, and by no other of the PC."""
    names = {"GPU-1": "NVIDIA GeForce RTX 3090", "GPU-2": "NVIDIA GeForce RTX 3060"}
    cards = tuple(
        Gpu(name=name, uuid=uuid, total=12 << 30, free=11 << 30) for uuid, name in names.items()
    )
    monkeypatch.setattr(machines, "read_gpus", lambda: Gpus(cards=cards, driver="590.44"))
    options = VllmOptions(
        folder=tmp_path, name="m", digest=Digest("d"), kind="chat", slots=1, context=1024
    )
    for gpus, device in (("GPU-2",), names["GPU-2"]), ((), ", ".join(names.values())):
        one = replace(options, gpus=gpus)
        fitting = await vllm_fitting(one, Book(tmp_path), "an image", bounded=False)
        assert fitting._machine.device == device
