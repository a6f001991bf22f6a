"""What a stream is asked, and how much."""

import json
import random

from garage_ai.node.bench.drive import LONGEST_ANSWER, LONGEST_PROMPT, Size, make_body, size_for
from garage_ai.node.engines.port import ROUTES, Offer
from garage_ai.wire.benchmarks import Level
from garage_ai.wire.ids import Digest

OFFER = Offer("m", Digest("sha256:" + "a" * 64), "engine-m", context=4096)


def level(prefill: float, decode: float) -> Level:
    return Level(
        streams=1, answered=1, failed=0, decode=decode, prefill=prefill, ttft=1.0, ttft_worst=1.0
    )


def body(offer: Offer, kind: str, seed: int = 1) -> dict[str, object]:
    made: dict[str, object] = json.loads(make_body(offer, kind, Size(), random.Random(seed)))
    return made


def test_a_chat_model_is_asked_to_chat() -> None:
    """The engine's own name of the model, streamed, with usage."""
    asked = body(OFFER, "llamacpp")
    assert (asked["model"], asked["stream"], asked["max_tokens"]) == ("engine-m", True, 64)
    assert asked["stream_options"] == {"include_usage": True}
    assert asked["ignore_eos"] is True
    assert "messages" in asked


def test_a_strangers_server_gets_only_what_everybody_knows() -> None:
    """Fields of llama.cpp and vLLM could be refused there."""
    assert not {"ignore_eos", "cache_prompt"} & set(body(OFFER, "external"))


def test_a_completion_model_is_not_asked_to_chat() -> None:
    """It has no chat route."""
    offer = Offer("m", OFFER.digest, "m", kind="completion", routes=ROUTES["completion"])
    assert "prompt" in body(offer, "llamacpp")


def test_no_two_prompts_begin_alike() -> None:
    """A prompt that was cached would be read in no time."""
    assert body(OFFER, "external", 1)["messages"] != body(OFFER, "external", 2)["messages"]


def test_a_small_context_is_respected() -> None:
    """Prompt and answer go into a slot of 128 tokens."""
    asked = body(Offer("m", OFFER.digest, "m", context=128), "llamacpp")
    text = str(asked["messages"])
    assert len(text.split()) < 64
    assert asked["max_tokens"] == 32


def test_a_slow_engine_is_asked_for_less() -> None:
    """Sixteen streams of an engine that reads 63 tokens per second would take minutes."""
    assert size_for(16, level(63, 30)) == (30, 18)
    assert size_for(16, level(1, 1)) == (16, 16)
    assert size_for(16, level(50_000, 2_000)) == (LONGEST_PROMPT, LONGEST_ANSWER)
