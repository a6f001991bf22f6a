"""Build the engine's image out of what is installed here: nothing new is fetched for it.

The installer checked the wheel of xllamacpp against the lock and left its list of hashes (RECORD)
behind; the same hashes are checked again when the files go into the image.
"""

import asyncio
import base64
import hashlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path, PurePosixPath
from typing import Final

from garage_ai.node.engines.llamacpp_options import SERVER
from garage_ai.node.errors import NoImage
from garage_ai.node.sandbox.argv import program, ulimits
from garage_ai.node.sandbox.command import ask
from garage_ai.node.sandbox.images import (
    Built,
    ImageBook,
    allowed,
    image_id,
    inspect,
    own_name,
    pulled,
    remove_unnamed,
)
from garage_ai.node.sandbox.spec import Limits, Runtime

BUILD_SECONDS: Final = 900.0
_ENGINE: Final = "xllamacpp"
_CONTAINERFILE: Final = "Containerfile"
_CONTEXT: Final = "image-"


@dataclass(frozen=True, slots=True)
class Part:
    """A file that goes into the image: from where, as what, and its sha256 in hex."""

    source: Path
    name: str
    digest: str


def parts() -> list[Part]:
    """List what goes in. Raises: NoImage when the engine is not installed."""
    try:
        engine = metadata.distribution(_ENGINE)
    except metadata.PackageNotFoundError as error:
        raise NoImage("llama.cpp is not installed: pip install 'garage-ai[local]'.") from error
    found = [_own("garage_ai.node.engines", SERVER), _own(__package__, _CONTAINERFILE)]
    for each in engine.files or ():
        if each.parts[0] == _ENGINE and each.hash is not None:
            digest = base64.urlsafe_b64decode(each.hash.value + "==").hex()
            found.append(Part(Path(str(each.locate())), str(PurePosixPath(each)), digest))
    return sorted(found, key=lambda part: part.name)


def content_of(found: list[Part]) -> str:
    """Name what goes in: other parts, another image."""
    lines = "".join(f"{part.digest}  {part.name}\n" for part in found)
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


async def built_image(runtime: Runtime, folder: Path) -> Built | None:
    """Give the engine's image, if one was built here of what is installed now."""
    known = ImageBook(folder).read().built.get(runtime.program)
    if known is None or known.content != content_of(await asyncio.to_thread(parts)):
        return None
    return known if await inspect(runtime, known.image) is not None else None


async def build_image(runtime: Runtime, folder: Path, base: str | None = None) -> Built:
    """Build the engine's image and keep its id.

    `base` is an image of the owner's own that needs nothing more; the build has no network then.
    Without it the allow-list's base is pulled. Raises: NoImage, RuntimeBroken.
    """
    book = ImageBook(folder)
    if base is not None and await inspect(runtime, base) is None:
        raise NoImage(
            "{program} has no image {base!r} here.",
            program=runtime.program,
            base=base,
        )
    found = await asyncio.to_thread(parts)
    await asyncio.to_thread(_clear_unfinished, folder)
    stands_on = base or await pulled(runtime, allowed("base"), book)
    with tempfile.TemporaryDirectory(prefix=_CONTEXT, dir=folder) as context:
        await asyncio.to_thread(_lay_out, found, Path(context))
        content = content_of(found)
        tag = own_name(folder)
        argv = build_argv(runtime, stands_on, tag, Path(context), offline=base is not None)
        said = await ask(argv, seconds=BUILD_SECONDS)
    if not said.well:
        raise NoImage(
            "The engine's image cannot be built: {words}",
            words=said.words,
        )
    image = await inspect(runtime, tag)
    if image is None:
        raise NoImage(
            "{program} built {tag} and does not find it.",
            program=runtime.program,
            tag=tag,
        )
    built = Built(image_id(image), content, stands_on)
    before = book.read().built.get(runtime.program)
    book.built(runtime.program, built)
    if before is not None and before.image != built.image:
        # Its name is the new one's by now; one that a container still runs stays.
        await remove_unnamed(runtime.program, before)
    return built


def build_argv(
    runtime: Runtime, base: str, tag: str, context: Path, *, offline: bool
) -> tuple[str, ...]:
    """Make the command that builds an image from a laid-out folder. Pure."""
    argv = [*program(runtime), "build", "--quiet"]
    if runtime.program == "podman":
        argv += ["--pull=never", *ulimits(runtime, Limits(0).files)]
    if offline:
        argv.append("--network=none")
    argv += [f"--build-arg=BASE={base}", f"--tag={tag}", f"--file={context / _CONTAINERFILE}"]
    return (*argv, str(context))


def _clear_unfinished(folder: Path) -> None:
    """Remove what builds left that were killed; one that goes on is younger."""
    for each in folder.glob(f"{_CONTEXT}*"):
        if time.time() - each.stat().st_mtime > BUILD_SECONDS:
            shutil.rmtree(each, ignore_errors=True)


def _own(package: str | None, name: str) -> Part:
    path = Path(str(resources.files(package or "") / name))
    return Part(path, name, hashlib.sha256(path.read_bytes()).hexdigest())


def _lay_out(found: list[Part], context: Path) -> None:
    """Copy what goes in, readable to any user inside, and check each file on the way."""
    for part in found:
        inside = Path("garage", part.name) if part.name != _CONTAINERFILE else Path(part.name)
        target = context / inside
        for folder in reversed(inside.parents):
            (context / folder).mkdir(exist_ok=True)
            (context / folder).chmod(0o755)
        try:
            shutil.copyfile(part.source, target)
        except OSError as error:
            raise NoImage(
                "{source} cannot be read: {error}",
                source=part.source,
                error=error.strerror,
            ) from error
        target.chmod(0o644)
        with target.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != part.digest:
                raise NoImage(
                    "{source} is not what was installed; install it again.",
                    source=part.source,
                )


__all__ = [
    "Part",
    "build_argv",
    "build_image",
    "built_image",
    "content_of",
    "parts",
]
