"""Which images are run here: those of the allow-list, each by its digest, and what stands on them.

images.json in this package   what may be pulled; a digest of null is not known yet
images.json in the folder     what it was at the first pull here, and what was built on it

A digest, once seen, is the only one taken from then on: a name that is given to other bytes later
does not reach this PC.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from garage_ai.node.errors import NoImage
from garage_ai.node.sandbox.argv import program
from garage_ai.node.sandbox.command import ask
from garage_ai.node.sandbox.spec import Program, Runtime
from garage_ai.wire.secret_files import replace_secret

_log = structlog.get_logger(__name__)

PULL_SECONDS: Final = 1800.0
"""Longest pull: hundreds of megabytes over a slow line."""

_FILE: Final = "images.json"

Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]


class Allowed(msgspec.Struct, frozen=True):
    """An image that may be pulled; `digest` None where it is to be pinned at the first pull."""

    reference: str
    digest: Digest | None


class Built(msgspec.Struct, frozen=True):
    """An image that was built here: its id, what went in, and what it stands on."""

    image: Digest
    content: Digest
    base: str


class Pins(msgspec.Struct, frozen=True):
    """What a node's folder knows of images: digests by reference, images by program."""

    pulled: dict[str, Digest] = {}
    built: dict[Program, Built] = {}


class Image(msgspec.Struct, frozen=True):
    """An image as podman and docker both describe it."""

    id: str = msgspec.field(name="Id")
    repo_digests: list[str] | None = msgspec.field(default=None, name="RepoDigests")


_pins: Final = msgspec.json.Decoder(Pins)
_allowed: Final = msgspec.json.Decoder(dict[str, Allowed])
_images: Final = msgspec.json.Decoder(list[Image])


def allowed(name: str) -> Allowed:
    """Give an image of the allow-list. Raises: KeyError."""
    return _allowed.decode((resources.files(__package__) / _FILE).read_bytes())[name]


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
            raise NoImage(f"{self._path} cannot be used: {error}; remove it.") from error

    def pin(self, reference: str, digest: str) -> None:
        """Keep the digest of what was pulled. Raises: NoImage."""
        pins = self.read()
        self._write(msgspec.structs.replace(pins, pulled={**pins.pulled, reference: digest}))

    def built(self, program: Program, built: Built) -> None:
        """Keep what was built. Raises: NoImage."""
        pins = self.read()
        self._write(msgspec.structs.replace(pins, built={**pins.built, program: built}))

    def forget(self) -> None:
        """Forget all of it."""
        self._path.unlink(missing_ok=True)

    def _write(self, pins: Pins) -> None:
        replace_secret(self._path, json.dumps(msgspec.to_builtins(pins), indent=2) + "\n")


async def inspect(runtime: Runtime, reference: str) -> Image | None:
    """Look an image up in the runtime's store; None when it is not there."""
    said = await ask([*program(runtime), "image", "inspect", reference])
    if not said.well:
        return None
    try:
        found = _images.decode(said.out)
    except msgspec.MsgspecError as error:
        raise NoImage(f"{runtime.program} describes {reference} oddly: {error}") from error
    return found[0] if found else None


async def pulled(runtime: Runtime, image: Allowed, book: ImageBook) -> str:
    """Have an image of the allow-list here, and give the name it is taken by: with its digest.

    Raises: NoImage.
    """
    name = image.reference.rpartition(":")[0]
    digest = image.digest or book.read().pulled.get(image.reference)
    exact = f"{name}@{digest}" if digest else image.reference
    if digest and await inspect(runtime, exact) is not None:
        return exact
    said = await ask([*program(runtime), "pull", "--quiet", exact], seconds=PULL_SECONDS)
    if not said.well:
        raise NoImage(
            f"{exact} cannot be pulled: {said.words}. With an image of your own that has python3 "
            "and libgomp1: gai node image --base IMAGE"
        )
    if digest:
        return exact
    found = await inspect(runtime, exact)
    seen = next((each for each in (found and found.repo_digests) or () if "@sha256:" in each), None)
    if seen is None:
        raise NoImage(f"{runtime.program} does not tell the digest of {exact}.")
    book.pin(image.reference, seen.rpartition("@")[2])
    return f"{name}@{seen.rpartition('@')[2]}"


async def remove_built(folder: Path) -> None:
    """Remove what was built for a node, and the pins; what is gone already is no trouble.

    Raises: NoImage, RuntimeBroken; then nothing is forgotten.
    """
    book = ImageBook(folder)
    for name, built in book.read().built.items():
        said = await ask([name, "image", "rm", "--force", built.image])
        if not said.well:
            _log.info("image_not_removed", image=built.image, detail=said.words)
    book.forget()


def image_id(image: Image) -> str:
    """Give an image's id as docker writes it; podman leaves the algorithm out."""
    return image.id if image.id.startswith("sha256:") else f"sha256:{image.id}"


__all__ = [
    "Allowed",
    "Built",
    "Image",
    "ImageBook",
    "Pins",
    "allowed",
    "image_id",
    "inspect",
    "pulled",
    "remove_built",
]
