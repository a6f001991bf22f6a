"""Mirrors to fetch from, stores to fetch into, and models to fetch."""

import dataclasses
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from tests.parts.mirror import WEIGHTS, Mirror, make_certificate

from garage_ai.catalog import (
    Hub,
    Limits,
    Manifest,
    ModelFile,
    ModelStore,
    NoSourceLeft,
    Room,
    Source,
)
from garage_ai.catalog.shelf import LABEL
from garage_ai.catalog.store import free_bytes

QUICK = Limits(first_delay_s=0.001, longest_delay_s=0.01, read_s=5.0, lock_wait_s=30.0)


class MakeModel(Protocol):
    def __call__(self, *sources: Source, files: dict[str, bytes] | None = None) -> Manifest: ...


def left_behind(tmp_path: Path) -> list[str]:
    """Name the files of the store that hold model bytes, whole or not."""
    models = tmp_path / "store" / "models"
    return sorted(e.name for e in models.rglob("*") if e.is_file() and e.name != LABEL)


def begun(tmp_path: Path) -> bool:
    """Say whether some bytes of a download are on disk."""
    return any(part.stat().st_size for part in tmp_path.rglob(".weights.gguf.part"))


async def causes_of(store: ModelStore, manifest: Manifest) -> list[type[Exception]]:
    """Fetch a model that no source gives, and return what each of them did wrong."""
    with pytest.raises(NoSourceLeft) as caught:
        await store.ensure(manifest)
    return [type(cause) for cause in caught.value.causes]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the certificate and key of all mirrors, in one file."""
    path = tmp_path_factory.mktemp("tls") / "mirror.pem"
    make_certificate(path)
    return path


@pytest.fixture
def trust(certificate: Path) -> ssl.SSLContext:
    """Trust the mirrors' certificate and nothing else."""
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
async def mirror(certificate: Path) -> AsyncIterator[Mirror]:
    """Start a well-behaved server."""
    server = Mirror(certificate)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def second_mirror(certificate: Path) -> AsyncIterator[Mirror]:
    """Start another one."""
    server = Mirror(certificate)
    await server.start()
    yield server
    await server.stop()


@dataclass
class MakeStore:
    """Makes stores over one folder; keywords are limits, beside `hub` and `free`."""

    root: Path
    trust: ssl.SSLContext

    def __call__(
        self,
        *,
        hub: Hub | None = None,
        free: Callable[[Path], int] = free_bytes,
        room: Room | None = None,
        **limits: float,
    ) -> ModelStore:
        bounds = dataclasses.replace(QUICK, **limits)  # type: ignore[arg-type]
        return ModelStore(
            self.root, tls=self.trust, hub=hub or Hub(), limits=bounds, free=free, room=room
        )


@pytest.fixture
def make_store(tmp_path: Path, trust: ssl.SSLContext) -> MakeStore:
    """Make stores that trust the mirrors and retry at once."""
    return MakeStore(tmp_path / "store", trust)


@pytest.fixture
def store(make_store: MakeStore) -> ModelStore:
    """Make one store with quick limits."""
    return make_store()


@pytest.fixture
def make_model() -> MakeModel:
    """Make a manifest of these contents, by default of what a mirror serves."""

    def make(*sources: Source, files: dict[str, bytes] | None = None) -> Manifest:
        contents = files or {"weights.gguf": WEIGHTS}
        return Manifest(
            id="tiny",
            name="tiny",
            family="test",
            kind="chat",
            context_length=128,
            parameters=1000,
            quantisation="F16",
            licence="CC0-1.0",
            files=tuple(
                ModelFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                for path, data in contents.items()
            ),
            sources=sources,
        )

    return make
