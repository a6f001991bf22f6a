"""Smaller forms of a model: the same one with fewer bits for each weight. Pure."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from garage_ai.catalog import Manifest


def lesser_forms(known: Iterable[Manifest], planned: Manifest) -> tuple[Manifest, ...]:
    """Give the manifests of the same model that are smaller, the largest first.

    Its weights are in the same kind of file: what another engine reads is no form for this one.
    """
    same = [each for each in known if _model(each) == _model(planned) and each.size < planned.size]
    return tuple(sorted(same, key=lambda each: (-each.size, each.name)))


def _model(form: Manifest) -> tuple[object, ...]:
    return form.family, form.kind, form.parameters, PurePosixPath(form.weights.path).suffix


__all__ = ["lesser_forms"]
