"""Manifests of models that a network adds to its catalogue."""

from typing import Any

import msgspec
from tests.parts.counted_engine import manifest

from garage_ai.catalog import Manifest, ModelFile, OverHttps

MIRROR = OverHttps("https://models.example/own")


def own_manifest(name: str = "own-135m", **changes: Any) -> Manifest:
    """Describe the shipped model's file under another name, to be had from a mirror."""
    renamed: dict[str, Any] = {"id": name, "name": name, "sources": (MIRROR,)}
    return msgspec.structs.replace(manifest(), **renamed | changes)


def bare_manifest(name: str = "small", size: int = 7, **changes: Any) -> Manifest:
    """Describe a model of one file of so many bytes, which is nowhere."""
    made = Manifest(
        id=name,
        name=name,
        family="test",
        kind="chat",
        context_length=4096,
        parameters=1,
        quantisation="q4",
        licence="none",
        files=(ModelFile(path="m.gguf", size=size, sha256="0" * 64),),
    )
    return msgspec.structs.replace(made, **changes)


def as_json(made: Manifest) -> dict[str, Any]:
    """Give it as a client sends it."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return fields


__all__ = ["MIRROR", "as_json", "bare_manifest", "own_manifest"]
