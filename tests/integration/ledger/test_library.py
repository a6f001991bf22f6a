"""Tokenizers come from this machine or from the model's own sources, and are what they must be."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.parts.counted_engine import manifest, weights
from tests.parts.mirror import Mirror, make_certificate

from garage_ai.catalog import (
    Digest,
    InFolder,
    Manifest,
    ModelFile,
    OverHttps,
    digest_of,
    read_gguf,
)
from garage_ai.ledger.counting import library as rooms
from garage_ai.ledger.counting.errors import TokenizerAbsent, TokenizerBroken
from garage_ai.ledger.counting.layout import HEADER, folder_of
from garage_ai.ledger.counting.library import Librarian, Library

pytestmark = pytest.mark.anyio

SHIPPED = manifest()
DIGEST = digest_of(SHIPPED)
SIZE = read_gguf(weights()).size


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mirror's certificate and key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "mirror.pem"
    make_certificate(path)
    return path


@pytest.fixture
async def mirror(certificate: Path) -> AsyncIterator[Mirror]:
    """A mirror of the shipped model, which answers the first bytes as good servers do."""
    made = Mirror(certificate, content=weights().read_bytes(), always=first_bytes)
    await made.start()
    yield made
    await made.stop()


async def first_bytes(mirror: Mirror, request: web.Request) -> web.StreamResponse:
    """Answer a range from the beginning."""
    stop = request.http_range.stop or len(mirror.content)
    body = mirror.content[:stop]
    mirror.sent += len(body)
    headers = {"Content-Range": f"bytes 0-{len(body) - 1}/{len(mirror.content)}"}
    return web.Response(status=206, body=body, headers=headers)


async def all_bytes(mirror: Mirror, request: web.Request) -> web.StreamResponse:
    """Send the whole file, whatever was asked for."""
    return web.Response(body=mirror.content)


def trusting(certificate: Path) -> ssl.SSLContext:
    """Trust the mirror alone."""
    return ssl.create_default_context(cafile=str(certificate))


def elsewhere(mirror: Mirror, **changes: object) -> Manifest:
    """The shipped model, to be had from a mirror alone."""
    return msgspec.structs.replace(SHIPPED, sources=(mirror.source,), **changes)


async def test_the_header_is_copied_from_this_machine(tmp_path: Path) -> None:
    """And no weights; a second time nothing is read."""
    library = Library(tmp_path, [SHIPPED])
    assert await library.here() == [DIGEST]
    assert not library.is_kept(DIGEST)
    await library.keep(DIGEST)
    kept = folder_of(tmp_path, DIGEST) / HEADER
    assert kept.stat().st_size == SIZE < SHIPPED.weights.size / 50
    assert read_gguf(kept).tokenizer_digest == SHIPPED.tokenizer_digest
    moment = kept.stat().st_mtime_ns
    await library.keep(DIGEST)
    assert kept.stat().st_mtime_ns == moment


async def test_what_the_own_node_has_fetched_is_used(tmp_path: Path) -> None:
    """It lies in that node's folder, by the model's digest."""
    lonely = msgspec.structs.replace(SHIPPED, sources=())
    place = tmp_path / "local-node" / "models" / DIGEST.removeprefix("sha256:")
    place.mkdir(parents=True)
    (place / SHIPPED.weights.path).symlink_to(weights())
    library = Library(tmp_path / "kept", [lonely], stores=[tmp_path / "local-node"])
    await library.keep(DIGEST)
    assert library.is_kept(DIGEST)


async def test_the_header_alone_is_fetched(
    mirror: Mirror, certificate: Path, tmp_path: Path
) -> None:
    """By its first bytes: not a twentieth of the file."""
    library = Library(tmp_path, [elsewhere(mirror)], tls=trusting(certificate))
    assert await library.here() == []
    await library.keep(DIGEST)
    assert (folder_of(tmp_path, DIGEST) / HEADER).stat().st_size == SIZE
    assert mirror.sent == rooms.LOOKS[0]


async def test_a_server_without_ranges_is_cut_short(
    mirror: Mirror, certificate: Path, tmp_path: Path
) -> None:
    """What it sends beyond what was asked for is not read."""
    mirror.always = all_bytes
    library = Library(tmp_path, [elsewhere(mirror)], tls=trusting(certificate))
    await library.keep(DIGEST)
    assert (folder_of(tmp_path, DIGEST) / HEADER).stat().st_size == SIZE


async def test_a_header_longer_than_the_first_look(
    mirror: Mirror, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More is read, as far as the bound."""
    monkeypatch.setattr(rooms, "LOOKS", (1000, SIZE - 1, 2 * SIZE))
    library = Library(tmp_path, [elsewhere(mirror)], tls=trusting(certificate))
    await library.keep(DIGEST)
    assert [each.http_range.stop for each in mirror.requests] == [1000, SIZE - 1, 2 * SIZE]
    monkeypatch.setattr(rooms, "LOOKS", (1000, 2000))
    with pytest.raises(TokenizerAbsent):
        await Library(tmp_path / "b", [elsewhere(mirror)], tls=trusting(certificate)).keep(DIGEST)


@pytest.mark.parametrize("field", ["tokenizer_digest", "template_digest"])
async def test_another_tokenizer_or_template_is_refused(field: str, tmp_path: Path) -> None:
    """What lies there is not what the manifest names; nothing is kept."""
    other = msgspec.structs.replace(SHIPPED, **{field: Digest("sha256:" + "0" * 64)})
    library = Library(tmp_path, [other])
    with pytest.raises(TokenizerBroken):
        await library.keep(digest_of(other))
    assert not library.is_kept(digest_of(other))


def repository(folder: Path, **files: bytes) -> Manifest:
    """A model of safetensors with the files of a tokenizer."""
    folder.mkdir()
    made = []
    for name, data in {"config.json": b"{}", **files}.items():
        (folder / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        made.append(ModelFile(path=name, size=len(data), sha256=digest))
    return msgspec.structs.replace(
        SHIPPED,
        files=tuple(made),
        sources=(InFolder(folder=str(folder)),),
        tokenizer_digest=Digest("sha256:" + hashlib.sha256(files["tokenizer.json"]).hexdigest()),
    )


async def test_the_files_of_a_repository(tmp_path: Path) -> None:
    """Each checked by its own digest."""
    files = {"tokenizer.json": b"{}", "tokenizer_config.json": b"[]", "chat_template.jinja": b"x"}
    model = repository(tmp_path / "model", **files)
    library = Library(tmp_path / "kept", [model])
    await library.keep(digest_of(model))
    place = folder_of(tmp_path / "kept", digest_of(model))
    assert {each.name: each.read_bytes() for each in place.iterdir()} == files
    (tmp_path / "model" / "chat_template.jinja").write_bytes(b"y")
    with pytest.raises(TokenizerBroken):
        await Library(tmp_path / "other", [model]).keep(digest_of(model))


async def test_a_model_that_no_manifest_names(tmp_path: Path) -> None:
    """There is no tokenizer for it, and nobody is asked."""
    nameless = msgspec.structs.replace(SHIPPED, tokenizer_digest=None)
    library = Library(tmp_path, [nameless])
    for digest in (digest_of(nameless), "sha256:" + "0" * 64):
        with pytest.raises(TokenizerAbsent):
            await library.keep(digest)
    assert await library.here() == []


async def test_plain_http_is_refused(tmp_path: Path) -> None:
    """A mirror is asked over HTTPS or not at all; why is told."""
    made = msgspec.structs.replace(SHIPPED, sources=(OverHttps(base="https://127.0.0.1:1/m"),))
    with pytest.raises(TokenizerAbsent, match="failed"):
        await Library(tmp_path, [made]).keep(DIGEST)


@dataclass
class Loads:
    """Who makes tokenizers ready, or fails to."""

    fails: int = 0
    asked: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self, digest: str) -> bool:
        self.asked.append(digest)
        well = len(self.asked) > self.fails
        if well:
            self.done.set()
        return well


async def test_another_catalogue_is_seen_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is added is made ready at once, also where its sources failed before."""
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.01)
    broken = msgspec.structs.replace(SHIPPED, sources=())
    loads = Loads(fails=0)
    library = Library(tmp_path, [])
    librarian = Librarian(library, loads, lambda: [DIGEST])
    librarian.start()
    librarian.catalogue_is([broken])
    assert library.knows(DIGEST)
    await asyncio.sleep(0.1)
    assert loads.asked == []
    librarian.catalogue_is([SHIPPED])
    async with asyncio.timeout(20):
        await loads.done.wait()
    librarian.catalogue_is([])
    assert not library.knows(DIGEST)
    await librarian.close()


class Stumbles(Library):
    """One that fails as nobody foresaw, the first time."""

    tried = False

    async def keep(self, digest: str) -> None:
        if not self.tried:
            self.tried = True
            raise KeyError(digest)
        await super().keep(digest)


async def test_no_failure_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is tried again too: others wait for the same task."""
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(rooms, "FIRST_PAUSE", 0.02)
    loads = Loads()
    monkeypatch.setattr(rooms, "LONGEST_PAUSE", 0.02)
    librarian = Librarian(Stumbles(tmp_path, [SHIPPED]), loads, lambda: [DIGEST])
    librarian._tries[DIGEST] = 5000  # of more months than a power of two has room for
    librarian.start()
    async with asyncio.timeout(20):
        await loads.done.wait()
    await librarian.close()


async def test_what_is_served_is_made_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is here at once, without any node; what fails is told once and tried again."""
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(rooms, "FIRST_PAUSE", 0.02)
    loads = Loads(fails=2)
    librarian = Librarian(Library(tmp_path, [SHIPPED]), loads, lambda: ["sha256:x", DIGEST])
    with capture_logs() as said:
        librarian.start()
        async with asyncio.timeout(20):
            await loads.done.wait()
        await librarian.close()
    assert loads.asked == [DIGEST] * 3
    unusable = [each["digest"] for each in said if each["event"] == "tokenizer_not_usable"]
    assert unusable == [DIGEST]
