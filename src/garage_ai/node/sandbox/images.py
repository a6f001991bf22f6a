"""Which images are run here: those of the allow-list, each by its digest, and what stands on them.

images.json in the catalogue  what may be pulled; a digest of null is not known yet
images.json in the folder     what it was at the first pull here, and what was built on it

A digest, once seen, is the only one taken from then on: a name that is given to other bytes later
does not reach this PC.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import msgspec
import structlog

from garage_ai.catalog.images import Allowed, Digest, allowed
from garage_ai.node.errors import NoImage
from garage_ai.node.sandbox.argv import program
from garage_ai.node.sandbox.command import ask
from garage_ai.node.sandbox.containers import tag_of
from garage_ai.node.sandbox.spec import Program, Runtime
from garage_ai.wire.messages import EngineImage
from garage_ai.wire.secret_files import replace_secret

_log = structlog.get_logger(__name__)

PULL_SECONDS: Final = 6 * 3600.0
"""Longest pull: the ten gigabytes of an engine for cards over a slow line."""

_FILE: Final = "images.json"

OnPull = Callable[[str], None]

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Built(msgspec.Struct, frozen=True):
    """An image that was built here: its id, what went in, and what it stands on."""

    image: Digest
    content: Digest
    base: str


class Pins(msgspec.Struct, frozen=True):
    """What a node's folder knows of images: digests by reference, images by program.

    `own` are ids of images that the owner chose to run vLLM from.
    """

    pulled: dict[str, Digest] = {}
    built: dict[Program, Built] = {}
    own: dict[Program, Digest] = {}


class Image(msgspec.Struct, frozen=True):
    """An image as podman and docker both describe it."""

    id: str = msgspec.field(name="Id")
    repo_digests: list[str] | None = msgspec.field(default=None, name="RepoDigests")
    repo_tags: list[str] | None = msgspec.field(default=None, name="RepoTags")


_pins: Final = msgspec.json.Decoder(Pins)
_images: Final = msgspec.json.Decoder(list[Image])


class ImageBook:
    """The pins of one node's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def read(self) -> Pins:
        """Read them; none where there is no file. Raises: NoImage for a file that is broken."""
        try:
            return _pins.decode(self._path.read_bytes())
        except FileNotFoundError:
            return Pins()
        except (OSError, msgspec.MsgspecError) as error:
            raise NoImage(
                "{path} cannot be used: {error}; remove it.",
                path=self._path,
                error=error,
            ) from error

    def pin(self, reference: str, digest: str) -> None:
        """Keep the digest of what was pulled. Raises: NoImage."""
        pins = self.read()
        self._write(msgspec.structs.replace(pins, pulled={**pins.pulled, reference: digest}))

    def built(self, program: Program, built: Built) -> None:
        """Keep what was built. Raises: NoImage."""
        pins = self.read()
        self._write(msgspec.structs.replace(pins, built={**pins.built, program: built}))

    def own(self, program: Program, image: Digest | None) -> None:
        """Keep which image of the owner's is to be run; None for none. Raises: NoImage."""
        pins = self.read()
        others = {name: each for name, each in pins.own.items() if name != program}
        kept = others | ({program: image} if image is not None else {})
        self._write(msgspec.structs.replace(pins, own=kept))

    def forget(self) -> None:
        """Forget all of it."""
        self._path.unlink(missing_ok=True)

    def _write(self, pins: Pins) -> None:
        replace_secret(self._path, json.dumps(msgspec.to_builtins(pins), indent=2) + "\n")


async def inspect(runtime: Runtime, reference: str) -> Image | None:
    """Look an image up in the runtime's store; None when it is not there."""
    return await _look(program(runtime), reference)


async def _look(runtime: list[str], reference: str) -> Image | None:
    said = await ask([*runtime, "image", "inspect", reference])
    if not said.well:
        return None
    try:
        found = _images.decode(said.out)
    except msgspec.MsgspecError as error:
        raise NoImage(
            "{program} describes {reference} oddly: {error}",
            program=runtime[0],
            reference=reference,
            error=error,
        ) from error
    return found[0] if found else None


async def pulled(
    runtime: Runtime,
    image: Allowed,
    book: ImageBook,
    *,
    on_pull: OnPull | None = None,
) -> str:
    """Have an image of the allow-list here, and give the name it is taken by: with its digest.

    `on_pull` hears what is fetched, if anything is. Raises: NoImage.
    """
    name = image.reference.rpartition(":")[0]
    digest = image.digest or book.read().pulled.get(image.reference)
    exact = f"{name}@{digest}" if digest else image.reference
    if digest and await inspect(runtime, exact) is not None:
        return exact
    if on_pull is not None:
        on_pull(exact)
    said = await ask([*program(runtime), "pull", "--quiet", exact], seconds=PULL_SECONDS)
    if not said.well:
        raise NoImage(
            "{exact} cannot be pulled: {words}. An image of your own will do as well: gai "
            "node image --help",
            exact=exact,
            words=said.words,
        )
    if digest:
        return exact
    seen = _digest_by(name, await inspect(runtime, exact))
    if seen is None:
        raise NoImage(
            "{program} does not tell the digest of {exact}.",
            program=runtime.program,
            exact=exact,
        )
    book.pin(image.reference, seen)
    return f"{name}@{seen}"


def _digest_by(name: str, image: Image | None) -> Digest | None:
    """Give an image's digest in the repository of that name, else in any that it is known by."""
    told = [each.rpartition("@") for each in (image.repo_digests if image else None) or ()]
    digests = [(repository, digest) for repository, _, digest in told if digest[:7] == "sha256:"]
    # docker leaves out whose repository it is where it is its own.
    its = [digest for repository, digest in digests if f"/{name}".endswith(f"/{repository}")]
    return next(iter([*its, *(digest for _, digest in digests)]), None)


def own_name(folder: Path) -> str:
    """Name the image that was built for a node: each node's folder has a name of its own for it."""
    return f"localhost/garage-ai/llamacpp:{tag_of(folder)}"


async def remove_built(folder: Path) -> set[str]:
    """Remove what was built and fetched for a node, and the pins; give what stays all the same.

    What is gone already is no trouble, and what another node or something else here uses stays, as
    do images of the owner's own. Raises: NoImage, RuntimeBroken; then nothing is forgotten.
    """
    book = ImageBook(folder)
    pins = book.read()
    stay = set()
    for name, built in pins.built.items():
        await _remove(name, own_name(folder))
        if not await remove_unnamed(name, built):
            stay.add(built.image)
    here = [each for each in get_args(Program) if await asyncio.to_thread(shutil.which, each)]
    for reference, digest in pins.pulled.items():
        exact = f"{reference.rpartition(':')[0]}@{digest}"
        gone = [await _remove(name, exact) for name in here]
        if not all(gone):
            stay.add(exact)
    book.forget()
    return stay


async def remove_unnamed(name: Program, built: Built) -> bool:
    """Remove an image that was built here, unless another node's name is on it or it is in use.

    True if it is gone. Never by force: that takes another node's container along.
    Raises: NoImage, RuntimeBroken.
    """
    found = await _look([name], built.image)
    if found is None:
        return True
    # All of one content had this name, before each folder had its own.
    old = f"localhost/garage-ai/llamacpp:{built.content.removeprefix('sha256:')[:16]}"
    others = set(found.repo_tags or ()) - {old}
    return not others and await _remove(name, built.image)


async def _remove(name: Program, image: str) -> bool:
    said = await ask([name, "image", "rm", image])
    if said.well:
        return True
    _log.info("image_not_removed", image=image, detail=said.words)
    return await _look([name], image) is None


def engine_image(name: str, built: Built | None) -> EngineImage | None:
    """Say what a container is made from; `name` is an id, or ends in a digest.

    None for a name that may stand for other bytes tomorrow.
    """
    if built is not None:
        return EngineImage(built.image, built.content, built.base[:300])
    digest = name.rpartition("@")[2]
    return EngineImage(digest) if _DIGEST.fullmatch(digest) else None


def image_id(image: Image) -> str:
    """Give an image's id as docker writes it; podman leaves the algorithm out."""
    return image.id if image.id.startswith("sha256:") else f"sha256:{image.id}"


__all__ = [
    "PULL_SECONDS",
    "Allowed",
    "Built",
    "Image",
    "ImageBook",
    "OnPull",
    "Pins",
    "allowed",
    "engine_image",
    "image_id",
    "inspect",
    "own_name",
    "pulled",
    "remove_built",
    "remove_unnamed",
]
