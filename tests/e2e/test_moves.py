"""Streams that lose their node in the middle, by kill -9, by its owner's word, or in good time."""

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import MakeLent
from tests.parts.http_caller import Ending, Stream
from tests.parts.lent_engine import MODEL, Lent, Node
from tests.parts.product import Product
from tests.parts.waiting import eventually

from garage_ai.node.control import ask_agent
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard.limits import Limits, save_limits

pytestmark = pytest.mark.slow

CHUNKS = 200
TEXT = "".join(f" w{number}" for number in range(CHUNKS))


@pytest.fixture
def both(make_lent: MakeLent) -> tuple[Lent, Lent]:
    """Two volunteers in the yard, whose engines take twenty seconds for an answer."""
    lents = make_lent("one"), make_lent("two")
    for lent in lents:
        lent.engine.set(chunks=CHUNKS, chunk_delay=0.1)
    return lents


def serving(stream: Stream, lents: tuple[Lent, Lent]) -> Lent:
    """Tell whose node answers."""
    [lent] = [lent for lent in lents if lent.node.id == stream.headers["x-gai-node"]]
    return lent


def kill(lent: Lent) -> None:
    """Kill its agent."""
    lent.node.program.signal(signal.SIGKILL)
    lent.node.program.process.wait(30)


def hand_back(lent: Lent) -> None:
    """Let its owner stop it, twice: it does not finish what runs."""
    lent.node.program.signal(signal.SIGTERM)
    eventually("a draining node", lambda: lent.node.seen["state"] != "ready", 20)
    lent.node.program.signal(signal.SIGTERM)


def leave_in_time(lent: Lent) -> None:
    """Let its owner pause it, with a second for what runs."""
    folder = NodeFolder(lent.node.data)
    save_limits(folder.path, Limits(drain=1.0))
    ask_agent(folder.run, "limits")
    ask_agent(folder.run, "pause")


OUTCOMES: dict[Callable[[Lent], None], str] = {
    kill: "node_lost",
    hand_back: "yielded",
    leave_in_time: "planned",
}


def shared(events: list[bytes]) -> set[tuple[str, int, str]]:
    """Give what all events of a stream should have in common."""
    told = [json.loads(event.removeprefix(b"data: ")) for event in events]
    return {(each["id"], each["created"], each["model"]) for each in told}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("lose", OUTCOMES, ids=lambda each: each.__name__)
def test_the_client_sees_one_whole_answer(
    both: tuple[Lent, Lent], path: str, lose: Callable[[Lent], None]
) -> None:
    """The same id to the end, one end, usage that adds up, and one record that tells it all."""
    key = both[0].product.new_key()
    http = both[0].http.with_key(key["key"])
    usage = {"include_usage": True}
    with http.stream(MODEL, "Count.", path=path, stream_options=usage) as stream:
        first = [stream.content() for _ in range(5)]
        lost = serving(stream, both)
        # The one that is lost is slow, so that it is in the middle however late that comes.
        _other(both, lost).engine.set(chunk_delay=0.0)
        lose(lost)
        ending = stream.rest()
    events = first + ending.events
    assert Ending(first).text + ending.text == TEXT
    assert (ending.done, ending.error, ending.broken) == (True, None, False)
    assert len(shared(events)) == 1
    told = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert [choice["finish_reason"] for each in told for choice in each["choices"]].count(
        "stop"
    ) == 1
    roles = [c for each in told for c in each["choices"] if c.get("delta", {}).get("role")]
    assert len(roles) == (path != "/v1/completions")
    [counted] = [each["usage"] for each in told if each.get("usage")]
    assert counted == {
        "prompt_tokens": 16,
        "completion_tokens": CHUNKS,
        "total_tokens": 16 + CHUNKS,
    }
    [record] = eventually("the record", lambda: lost.product.records(key["id"]), 20)
    assert (record["outcome"], record["node"], record["attempts"]) == ("ok", lost.node.id, 2)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (16, CHUNKS)
    parts = record["parts"]
    assert [part["node"] for part in parts] == [lost.node.id, _other(both, lost).node.id]
    assert [part["outcome"] for part in parts] == [OUTCOMES[lose], "ok"]
    assert sum(part["content_events"] for part in parts) == CHUNKS
    labels = f'gai_priority="chat",reason="{parts[0]["outcome"]}"'
    counted_move = f"gai_stream_moves_total{{{labels}}}".encode()
    # A text that took long to make is given again for a while.
    eventually("the metric", lambda: counted_move in lost.http.get("/metrics").body)


def _other(both: tuple[Lent, Lent], lent: Lent) -> Lent:
    return both[1] if lent is both[0] else both[0]


def test_the_official_client_notices_nothing(both: tuple[Lent, Lent]) -> None:
    """It puts the chunks together as ever."""
    product = both[0].product
    with product.client() as client:
        stream = client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=[{"role": "user", "content": "Count."}], stream=True
        )
        text = ""
        with stream as response:
            [lost] = [lent for lent in both if lent.node.id == response.headers["x-gai-node"]]
            _other(both, lost).engine.set(chunk_delay=0.0)
            for chunk in response.parse():
                text += chunk.choices[0].delta.content or ""
                if text == " w0 w1 w2":
                    kill(lost)
    assert text == TEXT


def test_what_cannot_be_continued_ends_in_its_own_error(both: tuple[Lent, Lent]) -> None:
    """Half a structured answer is of no use to another node."""
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}}
    with both[0].http.stream(MODEL, **asked) as stream:
        stream.content()
        kill(serving(stream, both))
        ending = stream.rest()
    assert (ending.error, ending.done, ending.broken) == ("continuation_unsound", False, False)
    assert ending.took < 15


def test_a_plain_answer_survives(both: tuple[Lent, Lent]) -> None:
    """Nothing was given yet, so it is asked for anew."""
    one, two = both
    with ThreadPoolExecutor(1) as pool:
        for lent in both:
            lent.engine.set(first_byte_delay=1.0)
        answer = pool.submit(one.http.chat, MODEL)
        eventually("work", lambda: not (one.engine.is_idle() and two.engine.is_idle()), 20)
        kill(one if not one.engine.is_idle() else two)
        done = answer.result()
    assert done.status == 200
    assert done.json()["choices"][0]["message"]["content"] == TEXT


SMALL = "smollm2-135m-instruct"
GREEDY: dict[str, Any] = {
    "temperature": 0,
    "seed": 7,
    "max_tokens": 48,
    "stream_options": {"include_usage": True},
}
ASKED = "Tell me about the sea."


@pytest.fixture
def real(yard: Product, tmp_path: Path) -> Iterator[list[Node]]:
    """Two nodes that run the real small model on llama.cpp."""
    with ExitStack() as stack:
        nodes = [Node(tmp_path / name, yard, None, model=SMALL, slots=2) for name in ("a", "b")]
        for node in nodes:
            stack.callback(_leave, yard, node)
            node.join()
        for node in nodes:
            node.serving(60)
        yield nodes


def _leave(product: Product, node: Node) -> None:
    node.stop()
    product.http.ask("DELETE", f"/api/v1/nodes/{node.id}")


@pytest.mark.timeout(240)
def test_greedy_output_is_that_of_the_uninterrupted(yard: Product, real: list[Node]) -> None:
    """Killed with -9 in the middle, the answer is the same to the letter, and so is the usage.

    llama.cpp gives whole tokens, and what it reads anew falls into the tokens that it wrote: so it
    is at these cuts. Where text can be cut into tokens in two ways it need not be: a word or two
    may still come after the kill, and where they are read as fewer tokens it is killed once more.
    """
    for path in ("/v1/chat/completions", "/v1/completions"):
        with yard.http.stream(SMALL, ASKED, path=path, **GREEDY) as stream:
            whole = stream.rest()
        for cut in (1, 7, 20):
            for _ in range(4):
                told = _killed_after(cut, path, yard, real)
                if _usage(told) == _usage(whole):
                    break
            assert (told.done, told.error) == (True, None)
            assert told.text == whole.text
            assert _usage(told) == _usage(whole)


def _killed_after(cut: int, path: str, yard: Product, real: list[Node]) -> Ending:
    """Give an answer whose node is killed after so many words; the node runs again afterwards."""
    with yard.http.stream(SMALL, ASKED, path=path, **GREEDY) as stream:
        first = [stream.content() for _ in range(cut)]
        [lost] = [node for node in real if node.id == stream.headers["x-gai-node"]]
        lost.program.signal(signal.SIGKILL)
        rest = stream.rest()
    lost.program.process.wait(30)
    lost.run()
    lost.serving(60)
    return Ending([*first, *rest.events], rest.error, rest.done)


def _usage(ending: Ending) -> list[int]:
    told = json.loads(ending.events[-1].removeprefix(b"data: "))["usage"]
    return [told[f"{what}_tokens"] for what in ("prompt", "completion", "total")]
