"""A running edge for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.parts.edge import Edge, running_edge


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge with the usual limits."""
    async with running_edge(tmp_path) as running:
        yield running
