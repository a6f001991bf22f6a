"""vLLM's image: which one is run here, and what is in it.

It is the official one of the allow-list, or one of the owner's own that has vLLM for its
/usr/bin/python3: for another device, an older driver, or a PC that reaches no registry.
"""

from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from garage_ai.catalog import find_card
from garage_ai.node.engines.vllm_options import PYTHON
from garage_ai.node.engines.vllm_python import Card, Facts, judge
from garage_ai.node.errors import EngineUnfit, NoImage, NotPossible
from garage_ai.node.hardware.models import Gpu
from garage_ai.node.sandbox.images import ImageBook, OnPull, allowed, image_id, inspect, pulled
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.spec import Runtime

SECONDS: Final = 120
"""Looking into an image reads a few files; the first time its container takes longer to make."""

OLDEST: Final = (7, 5)
"""What the official image has kernels for (vLLM, docs/getting_started/installation/gpu)."""

_facts: Final = msgspec.json.Decoder(Facts)


async def vllm_image(runtime: Runtime, folder: Path, on_pull: OnPull | None = None) -> str:
    """Give the image that vLLM runs from here, by its digest; it is pulled if it is not here.

    `on_pull` hears what is fetched, if anything is. Raises: NoImage, RuntimeBroken.
    """
    own = ImageBook(folder).read().own.get(runtime.program)
    if own is None:
        book = ImageBook(folder)
        return await pulled(runtime, allowed("vllm"), book, on_pull=on_pull)
    if await inspect(runtime, own) is None:
        raise NoImage(
            "The image of your own that vLLM was to run from is gone ({image}). Name another, or "
            "none for the official one: gai node image --engine vllm",
            image=own[:19],
        )
    return own


async def choose_image(
    runtime: Runtime, folder: Path, own: str | None, on_pull: OnPull | None = None
) -> str:
    """Keep which image vLLM is to run from, and give it; `own` None is the official one.

    Raises: NoImage, RuntimeBroken.
    """
    found = await inspect(runtime, own) if own is not None else None
    if own is not None and found is None:
        raise NoImage("{program} has no image {image} here.", program=runtime.program, image=own)
    ImageBook(folder).own(runtime.program, image_id(found) if found else None)
    return await vllm_image(runtime, folder, on_pull)


async def facts_inside(launcher: ContainerLauncher, gpus: tuple[Gpu, ...]) -> Facts:
    """Tell which vLLM an image has and for what device, beside the cards of this PC.

    Raises: EngineMissing, EngineUnfit, RuntimeBroken, NotPossible.
    """
    script = (resources.files("garage_ai.node.engines") / "vllm_probe.py").read_bytes()
    said = await launcher.ask((PYTHON, "-", "version"), seconds=SECONDS, stdin=script)
    try:
        facts = _facts.decode(said.out)
    except msgspec.MsgspecError as error:
        raise EngineUnfit(
            "The image does not say what vLLM it has: {words}", words=said.words
        ) from error
    judge(facts.version)
    if facts.device != "cuda":
        _check_no_card_is_wasted(facts, gpus)
        return facts
    return msgspec.structs.replace(facts, cards=_cards(gpus))


def _check_no_card_is_wasted(facts: Facts, gpus: tuple[Gpu, ...]) -> None:
    if facts.device == "cpu" and gpus:
        raise NotPossible(
            "This image's vLLM is built for the processor, and {card} would do nothing. Take the "
            "official one: gai node image --engine vllm",
            card=gpus[0].name,
        )


def _cards(gpus: tuple[Gpu, ...]) -> tuple[Card, ...]:
    """Give the cards that the image has kernels for. Raises: NotPossible where it has for none."""
    able = tuple(each for each in map(_card, gpus) if each.capability >= OLDEST)
    if gpus and not able:
        raise NotPossible(
            "{card} is too old for vLLM's image, which needs compute capability 7.5. Serve with "
            "--engine llamacpp.",
            card=gpus[0].name,
        )
    return able


def _card(gpu: Gpu) -> Card:
    known = find_card(gpu.name, gpu.total)
    # One that nobody knows is not told from a Turing by its makers' drivers; halves do on all.
    capability = gpu.compute or (known.compute if known else OLDEST)
    return Card(gpu.name, capability, gpu.free, gpu.total, gpu.uuid)


__all__ = ["OLDEST", "choose_image", "facts_inside", "vllm_image"]
