"""Smaller forms of a model: the same one with fewer bits for each weight. Pure."""

from collections.abc import Iterable

from garage_ai.catalog import Manifest


def lesser_forms(known: Iterable[Manifest], planned: Manifest) -> tuple[Manifest, ...]:
    """Give the manifests of the same model that are smaller, the largest first."""
    same = [
        each
        for each in known
        if (each.family, each.kind, each.parameters)
        == (planned.family, planned.kind, planned.parameters)
        and each.size < planned.size
    ]
    return tuple(sorted(same, key=lambda each: (-each.size, each.name)))


__all__ = ["lesser_forms"]
