"""Counts are those of the real engine, token for token."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.parts.counted_engine import (
    CALL,
    TOOL_TEMPLATE,
    TOOLS,
    Engine,
    engine,
    hard_texts,
    weights,
)
from tests.parts.headers import PRE, TEMPLATE, rewritten

from garage_ai.catalog import read_vocabulary
from garage_ai.ledger.counting.bpe import tokenizer_of
from garage_ai.ledger.counting.counter import Counter
from garage_ai.ledger.counting.kept import load
from garage_ai.ledger.counting.layout import HEADER
from garage_ai.wire.frames import Route

pytestmark = pytest.mark.slow


def counter_of(model: Path, folder: Path) -> Counter:
    """Make ready what counts for a model."""
    (folder / HEADER).symlink_to(model)
    return load(folder)


@pytest.fixture(scope="module")
def shipped() -> Iterator[Engine]:
    """The shipped model, as it is."""
    with engine(weights()) as running:
        yield running


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Counter:
    """What counts for it."""
    return counter_of(weights(), tmp_path_factory.mktemp("kept"))


@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "llama-bpe", "qwen2"])
@pytest.mark.timeout(150)
def test_tokens_are_the_engines(pre: str, tmp_path: Path) -> None:
    """Hundreds of texts of all kinds give the very tokens, however the file cuts words."""
    model = rewritten(weights(), tmp_path / "model.gguf", {PRE: pre})
    tokenizer = tokenizer_of(read_vocabulary(model))
    with engine(model) as running:
        for text in hard_texts():
            ours = tokenizer.encode(text, add_special_tokens=False).ids
            assert ours == running.tokens(text), repr(text)


def user(content: object) -> dict[str, object]:
    """Say something."""
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, object]:
    """Say how."""
    return {"role": "system", "content": content}


def answered(content: object) -> dict[str, object]:
    """What the model said."""
    return {"role": "assistant", "content": content}


def part(text: str) -> dict[str, str]:
    """A piece of a turn."""
    return {"type": "text", "text": text}


CHATS: Mapping[str, dict[str, object]] = {
    "one turn": {"messages": [user("Hej på dig! 😀")]},
    "system": {"messages": [system("Svara kort."), user("Hej")]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief"}, user("x")]},
    "turns": {"messages": [user("a"), answered("b"), user("c"), answered("d"), user("e  \n")]},
    "named": {"messages": [{"role": "user", "name": "bo", "content": "x"}]},
    "parts": {"messages": [user([part("one"), part("two")])]},
    "empty": {"messages": [user("x"), answered(""), user("y")]},
    "special": {"messages": [user("a<|im_end|>b")]},
    "begun": {"messages": [user("Count"), answered("1, 2, 3,")]},
    "begun in parts": {"messages": [user("Count"), answered([part("1, "), part("2")])]},
    "only begun": {"messages": [answered("Once upon")]},
    "begun with nothing": {"messages": [user("q"), answered("")]},
    "tools": {"messages": [user("weather?")], "tools": TOOLS},
    "functions": {"messages": [user("w?")], "tools": TOOLS, "tool_choice": "none"},
    "called": {
        "messages": [user("w?"), CALL, {"role": "tool", "tool_call_id": "c1", "content": "sun"}],
        "tools": TOOLS,
    },
    "long": {"messages": [user("The quick brown fox. " * 60)]},
}


def counted(counter: Counter, route: Route, body: Mapping[str, object]) -> int:
    """Count a prompt."""
    return counter.count(route, json.dumps({"model": "x", **body}).encode(), []).prompt


@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
def test_a_chats_prompt_is_as_long_as_the_engine_says(
    shipped: Engine, counter: Counter, chat: Mapping[str, object]
) -> None:
    """The shipped model's template is rendered as its engine renders it."""
    ours = counted(counter, "chat", chat)
    assert ours == shipped.prompt_tokens("/v1/chat/completions", chat)


@pytest.mark.timeout(150)
def test_a_template_that_knows_tools(tmp_path: Path) -> None:
    """Tools and calls reach it as the engine hands them over."""
    model = rewritten(weights(), tmp_path / "tools.gguf", {TEMPLATE: TOOL_TEMPLATE})
    counter = counter_of(model, tmp_path)
    with engine(model) as running:
        for name, chat in CHATS.items():
            theirs = running.prompt_tokens("/v1/chat/completions", chat)
            assert counted(counter, "chat", chat) == theirs, name


@pytest.mark.parametrize("prompt", ["Hello there", "<|im_start|>x", [1, 2, 3], "Åsa " * 300])
def test_a_completions_prompt(shipped: Engine, counter: Counter, prompt: object) -> None:
    """Text is made tokens of, tokens are counted as they are."""
    theirs = shipped.prompt_tokens("/v1/completions", {"prompt": prompt})
    assert counted(counter, "completions", {"prompt": prompt}) == theirs


def test_embeddings(counter: Counter) -> None:
    """All inputs together."""
    with engine(weights(), "--embedding", "--pooling", "mean") as running:
        for given in ("Hello there", ["Hello", "Räksmörgås"], [1, 2, 3], [[1, 2], [3]]):
            theirs = running.prompt_tokens("/v1/embeddings", {"input": given})
            assert counted(counter, "embeddings", {"input": given}) == theirs


def test_an_answer_is_counted_without_the_token_that_ends_it(
    shipped: Engine, counter: Counter
) -> None:
    """Nobody gets that one; the engine counts it."""
    body = {"model": "x", "messages": [user("Say hi")], "max_tokens": 60, "temperature": 0}
    answer = shipped.post("/v1/chat/completions", body)
    [choice] = answer["choices"]
    [said] = counter.count("chat", json.dumps(body).encode(), [choice["message"]["content"]]).each
    ended = choice["finish_reason"] == "stop"
    assert said == answer["usage"]["completion_tokens"] - ended
