"""What stands where a service would be, so that the code can be described without running."""

from collections.abc import Iterator
from typing import Any, Final


class _Absent:
    """Has every attribute, can be called, is empty and counts as nothing."""

    def __getattr__(self, name: str) -> "_Absent":
        return self

    def __call__(self, *_: object, **__: object) -> "_Absent":
        return self

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __float__(self) -> float:
        return 0.0


ABSENT: Final[Any] = _Absent()
"""Fits wherever a service is asked for; types cannot follow, and need not."""

__all__ = ["ABSENT"]
