"""The API as described: no undocumented answer, whatever is asked of it."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)
from tests.parts.edge import Edge, running_edge

pytestmark = pytest.mark.slow

EXAMPLES = 12
# A key that every question carries cannot be taken away (test_coordination asks without one), and
# a schema cannot say what makes a request sound: 1.0 is an integer to it, a nonce any text, and a
# query may hold names that nobody asks for.
EXCLUDED = [ignored_auth, negative_data_rejection, positive_data_acceptance]
MODES = list(GenerationMode)


Operation = APIOperation[Any, Any, Any, Any]


class EdgeThread:
    """An edge on an event loop in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: Future[Edge] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with running_edge(self._folder) as edge:
                self._started.set_result(edge)
                await self._stop.wait()
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    def __enter__(self) -> Edge:
        self._thread.start()
        return self._started.result(30)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """The edge that is asked."""
    with EdgeThread(tmp_path) as running:
        yield running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """One connection for all questions."""
    with requests.Session() as made:
        yield made


# It draws the boundary of a form's parts by chance of its own.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
def test_as_described(edge: Edge, session: requests.Session) -> None:
    """Every answer has a status, a type and a shape that the description names."""
    schema = schemathesis.openapi.from_url(f"{edge.url}/openapi.json")
    asked = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        ask_about(found.ok(), edge, session)
        asked += 1
    assert asked > 20


def ask_about(operation: Operation, edge: Edge, session: requests.Session) -> None:
    """Ask an operation what is right and what is wrong."""

    @given(st.data())
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(MODES))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.call_and_validate(session=session, headers=edge.admin_bearer, excluded_checks=EXCLUDED)

    ask()
