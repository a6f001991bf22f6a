"""A real vLLM over two PCs of one LAN, through their encrypted tunnel, as one node of a network."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts.batch_client import Work
from tests.parts.real_vllm import divisible_model, real_vllm
from tests.parts.rigs import Group, Rig, group_of_two
from tests.parts.waiting import eventually

# A clean machine installs vLLM first, and each of its starts takes a minute or more.
pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(900)]

FORM_SECONDS = 300.0
BATCH_SECONDS = 300.0
SIZE = 40
TOKENS = 48
ENDS = ("0", "2")  # the tokenizer's tokens that end an answer


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    """Two PCs in one group, with its own network, that have joined a network and serve nothing."""
    vllm = real_vllm()
    with group_of_two(tmp_path, lambda _: vllm.python, divisible_model(vllm)) as group:
        yield group


def test_two_rigs_are_one_node(group: Group) -> None:
    """They answer chat and batch together; one that dies frees the other, and both go on later."""
    leader, follower = group.forms(FORM_SECONDS)
    said = _answers_chat(group, leader, follower)
    with group.product.client(group.product.new_key()["key"]) as client:
        asked = {"max_tokens": TOKENS, "logit_bias": dict.fromkeys(ENDS, -100)}
        work = Work(group.product, client, SIZE, group.model, **asked)
        eventually("answers to some of the batch", lambda: work.answered >= 3, BATCH_SECONDS)
        _dies_and_comes_back(group, follower, work)
        again = group.product.http.chat(group.model, "Hej", max_tokens=8, temperature=0)
        assert (again.status, again.text) == (200, said)
        work.completes(None, BATCH_SECONDS)


def _answers_chat(group: Group, leader: Rig, follower: Rig) -> str:
    """Whole and streamed, in the same words, which are given."""
    http = group.product.http
    whole = http.chat(group.model, "Hej", max_tokens=8, temperature=0)
    assert whole.status == 200, whole.body
    assert leader.status.node < follower.status.node
    assert whole.headers["x-gai-node"] == leader.status.node
    assert follower.status.models == ()
    assert follower.status.engine.reason.startswith("grouped")
    assert follower.processes()
    seen = leader.status.group
    assert seen is not None
    assert (seen.phase, [link.node for link in seen.links]) == ("serving", [follower.status.node])
    with http.stream(group.model, "Hej", max_tokens=8, temperature=0) as stream:
        assert stream.rest().text == whole.text
    return whole.text


def _dies_and_comes_back(group: Group, rig: Rig, work: Work) -> None:
    """What runs is gone from both PCs, what it did is in the queue, until there are two again."""
    os.kill(rig.status.pid, signal.SIGKILL)
    group.lets_go()
    answer = group.product.http.chat(group.model, "Hej", max_tokens=1)
    assert answer.status in (404, 503), answer.body
    eventually("its requests in the queue", lambda: work.returned)
    group.comes_back(rig)
    group.forms(FORM_SECONDS)
