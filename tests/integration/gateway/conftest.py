"""A running edge, of a test's own or shared by a module."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.parts.edge import Edge, running_edge


@pytest.fixture
async def edge(tmp_path: Path, database: str) -> AsyncIterator[Edge]:
    """An edge with the usual limits, on either database."""
    async with running_edge(tmp_path, database=database) as running:
        yield running


@pytest.fixture(scope="module")
async def shared_edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """An edge that a module's tests share, since none of them changes it."""
    async with running_edge(tmp_path_factory.mktemp("edge")) as running:
        yield running
