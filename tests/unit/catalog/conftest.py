"""Small manifests to compare."""

import hashlib
from typing import Protocol

import pytest

from garage_ai.catalog import Manifest, ModelFile, ModelKind, Source


class MakeManifest(Protocol):
    def __call__(
        self,
        name: str = "tiny",
        *,
        kind: ModelKind = "chat",
        rank: int = 0,
        parameters: int = 1000,
        sources: tuple[Source, ...] = (),
    ) -> Manifest: ...


@pytest.fixture
def make_manifest() -> MakeManifest:
    """Make a valid manifest of one file."""

    def make(
        name: str = "tiny",
        *,
        kind: ModelKind = "chat",
        rank: int = 0,
        parameters: int = 1000,
        sources: tuple[Source, ...] = (),
    ) -> Manifest:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        return Manifest(
            id=name,
            name=name,
            family="test",
            kind=kind,
            context_length=128,
            parameters=parameters,
            quantisation="F16",
            licence="CC0-1.0",
            files=(ModelFile(path="weights.gguf", size=10, sha256=sha256),),
            sources=sources,
            rank=rank,
        )

    return make
