"""The rule counts a chat of texts by a shorter way, and as it counts any other."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.ledger.counting.requests import all_text, at_most, read_asked
from garage_ai.ledger.counting.rule import RULE_BYTES, count_by_rule

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2)
CALLS = st.just([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"])},
    optional={"content": st.none() | TEXTS | PARTS, "tool_calls": st.none() | CALLS},
)
COUNTS = st.none() | st.integers(1, 4)
CHATS = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(TURNS, max_size=3)},
    optional={"n": COUNTS, "max_tokens": COUNTS, "tools": st.none() | st.just([{"type": "f"}])},
)


@given(CHATS, st.lists(TEXTS, max_size=3))
def test_both_ways_count_the_same(chat: Mapping[str, Any], answers: Sequence[str]) -> None:
    """Bytes of all that was said, by four, and no more of the answer than was asked for."""
    body = msgspec.json.encode(chat)
    asked = read_asked("chat", body, engine="vllm", template="")
    assert asked.chat is not None
    each = [-(-len(text.encode()) // RULE_BYTES) for text in answers]
    found = count_by_rule("chat", body, answers)
    assert found.prompt == -(-len(all_text(asked.chat).encode()) // RULE_BYTES)
    assert found.each == at_most(each, asked.most)
