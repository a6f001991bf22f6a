"""A group that breaks in every other way, in the middle of a batch; a server stands in for vLLM."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from bench.mock_answers import text_of
from tests.parts import fake_vllm
from tests.parts.batch_client import Work
from tests.parts.folders import model_folder
from tests.parts.rigs import Group, Rig, group_of_two
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

FORM_SECONDS = 200.0
TOKENS = 8
SIZE = 60
AT_ONCE = 4
"""More requests than two slots take at a time: who is lost again is not asked the same again."""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    """Two rigs whose engines are ready in a moment, and take about half a second for an answer."""

    def python(home: Path) -> Path:
        pace = {"chunks": TOKENS, "chunk_delay": 0.05}
        return fake_vllm.make_python(home / "env", meets=True, mock=pace)

    with group_of_two(tmp_path, python, model_folder(tmp_path / "small")) as group:
        yield group


def test_a_batch_outlives_whatever_is_lost(group: Group) -> None:
    """Each time both rigs are free within 10 s and one again later; each request has one answer."""
    key = group.product.new_key()["key"]
    with ExitStack() as stack:
        client = stack.enter_context(group.product.client(key))
        leader, follower = group.forms(FORM_SECONDS)
        work = Work(group.product, client, SIZE, group.model, max_tokens=TOKENS)
        for lost in (_killed(group, leader), leader.host.unplugged(), _apart(leader, follower)):
            _is_mended(group, work, lost)
        work.completes(text_of(TOKENS), 200)


def _is_mended(group: Group, work: Work, lost: AbstractContextManager[None]) -> None:
    before = work.answered
    eventually("answers", lambda: work.answered >= before + AT_ONCE, 120)
    with lost:
        group.lets_go()
        eventually("its requests in the queue", lambda: work.returned, 60)
    group.forms(FORM_SECONDS)


@contextmanager
def _killed(group: Group, leader: Rig) -> Iterator[None]:
    os.kill(leader.status.pid, signal.SIGKILL)
    yield
    group.comes_back(leader)


def _apart(leader: Rig, follower: Rig) -> AbstractContextManager[None]:
    return leader.host.apart(follower.host)
