"""Images from a registry, a real one: pinned at the first pull, and no other bytes from then on."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.processes import free_ports
from tests.parts.hosts import run
from tests.parts.program import Program
from tests.parts.waiting import eventually

from garage_ai.node.errors import NoImage
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import Allowed, ImageBook, allowed, inspect, pulled
from garage_ai.node.sandbox.spec import Runtime

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.timeout(180)]

REGISTRY = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
STORAGE = '[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
INSECURE = '[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n'


@dataclass(frozen=True)
class Shelf:
    """A registry, and a small image in it that can be replaced under its name."""

    folder: Path
    reference: str

    def put(self, text: str) -> None:
        """Push an image that holds this text, under the one name there is."""
        archive = self.folder / "image.tar"
        with tarfile.open(archive, "w") as tar:
            about = tarfile.TarInfo("text")
            about.size = len(text)
            tar.addfile(about, io.BytesIO(text.encode()))
        run("podman", "import", "--quiet", str(archive), self.reference)
        run("podman", "push", "--quiet", self.reference)
        self.forget()

    def forget(self) -> None:
        """Remove every image from this PC; the registry keeps them."""
        run("podman", "rmi", "--all", "--force")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Start a registry, and give podman a storage of its own that knows it."""
    port = free_ports()
    settings = {
        "registry.yml": REGISTRY.format(folder=tmp_path / "shelf", port=port),
        "storage.conf": STORAGE.format(folder=tmp_path / "storage"),
        "registries.conf": INSECURE.format(port=port),
    }
    for name, text in settings.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    argv = ["docker-registry", "serve", str(tmp_path / "registry.yml")]
    program = Program("registry", argv, tmp_path, {"PATH": "/usr/bin:/bin"})
    try:
        eventually("the registry", lambda: "listening on" in program.output())
        yield Shelf(tmp_path, f"127.0.0.1:{port}/base:12")
    finally:
        subprocess.run(["podman", "rmi", "--all", "--force"], capture_output=True, check=False)
        program.stop()


@pytest.fixture
async def podman() -> Runtime:
    """Find the podman of this machine."""
    return await find_runtime("podman")


async def test_the_first_pull_pins(shelf: Shelf, podman: Runtime, tmp_path: Path) -> None:
    """An image whose digest is not known yet is taken by the one it had at first, for good."""
    shelf.put("as it was")
    book, image = ImageBook(tmp_path), Allowed(shelf.reference, None)
    first = await pulled(podman, image, book)
    name, _, digest = first.partition("@")
    assert name == shelf.reference.rpartition(":")[0]
    assert book.read().pulled == {shelf.reference: digest}
    before = await inspect(podman, first)
    shelf.put("as somebody made it later")
    assert await pulled(podman, image, book) == first
    after = await inspect(podman, first)
    assert before is not None
    assert after is not None
    assert after.id == before.id


async def test_a_known_digest_needs_no_pin(shelf: Shelf, podman: Runtime, tmp_path: Path) -> None:
    """What the allow-list names is pulled by it, or not at all."""
    shelf.put("as it was")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    exact = await pulled(podman, Allowed(shelf.reference, None), ImageBook(elsewhere))
    digest = exact.partition("@")[2]
    shelf.forget()
    book = ImageBook(tmp_path)
    exact = await pulled(podman, Allowed(shelf.reference, digest), book)
    assert exact.endswith(digest)
    assert book.read().pulled == {}
    with pytest.raises(NoImage, match="cannot be pulled"):
        await pulled(podman, Allowed(shelf.reference, "sha256:" + "0" * 64), book)


def test_nothing_in_the_allow_list_moves() -> None:
    """Its base is named with a registry and a version, and its digest is told to be unknown."""
    base = allowed("base")
    assert base.reference.startswith("docker.io/library/debian:")
    assert not base.reference.endswith(":latest")
    assert base.digest is None
