"""Parts of paths that several routes share."""

from typing import Annotated

from fastapi import Path

IdPath = Annotated[str, Path(min_length=1, max_length=64)]

__all__ = ["IdPath"]
