"""Why a node does not serve is said in Swedish too."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from garage_ai import node
from garage_ai.cli.gang_words import SWEDISH
from garage_ai.cli.reason_words import REASONS, STATES, in_swedish, reason_in_words, state_in_words
from garage_ai.network.admission import SANDBOX_NEEDED, _image_refusal, agent_too_old
from garage_ai.network.models import ImageState
from garage_ai.node.engines import vllm_log
from garage_ai.node.fitting.sizes import Ruled, Size
from garage_ai.node.fitting.words import lacking, refusal
from garage_ai.node.group.reasons import REASONS as GANG_REASONS
from garage_ai.node.group.reasons import Reason, say
from garage_ai.node.guard.signals import TOLD
from garage_ai.wire.connection import LinkState
from garage_ai.wire.messages import AgentState, EngineImage, EngineState
from garage_ai.wire.versions import AgentVersion

NODE = Path(node.__file__).parent
FAILURES = ("EngineLost", "EngineTimeout", "EngineError")
"""What an engine's supervisor may hear; the rest is told inside a request."""


def fields(text: str) -> set[str]:
    """Name the values in a text."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def sample(value: ast.expr) -> str | None:
    """Give a text as it may be said: numbers and words where values stand."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.BoolOp):
        return sample(value.values[-1])
    if not isinstance(value, ast.JoinedStr):
        return None
    parts = (sample(part) if isinstance(part, ast.Constant) else "7" for part in value.values)
    return "".join(part or "" for part in parts)


def said() -> Iterator[tuple[str, str]]:
    """Give each place of the node that gives a reason in words of its own."""
    for path in sorted(NODE.rglob("*.py")):
        for part in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(part, ast.Call) and part.args):
                continue
            name = part.func.attr if isinstance(part.func, ast.Attribute) else ""
            raised = isinstance(part.func, ast.Name) and part.func.id in FAILURES
            if raised or name in ("_become", "drain"):
                for text in (text for each in part.args if (text := sample(each))):
                    yield f"{path.relative_to(NODE)}:{part.lineno}", text


def test_every_reason_has_its_swedish() -> None:
    """Those of the agent, of the engines and of vLLM's log while it loads."""
    states = {*get_args(AgentState), *get_args(EngineState), *get_args(LinkState)}
    drainers = {"owner", "network", "renewal", "rotation", "shutdown"}
    told = [(place, text) for place, text in said() if text not in states | drainers]
    assert len(told) > 25
    told += [("TOLD", text) for text in TOLD.values()]
    told += [("stage", stage) for _, stage in vllm_log._STAGES]
    told += [("advice", f"{words} (RuntimeError: out)") for _, words in vllm_log._ADVICE]
    told += [("waiting", lacking(8 << 30, 2 << 30))]
    told += [("state", f"the engine is {state}") for state in get_args(EngineState)]
    told = [
        each for each in told if each[1] not in ("the engine is ready", "the engine is stopped")
    ]
    # A request's own failures are no reason, nor is what a bench says when it ends.
    told = [(place, text) for place, text in told if not place.startswith("bench/")]
    assert [each for each in told if in_swedish(each[1]) == each[1]] == []


def test_what_the_network_tells_has_its_swedish() -> None:
    """Notices of sandboxes, versions, images, names and clocks."""
    image = EngineImage("sha256:" + "1" * 64)
    states: tuple[ImageState, ...] = ("unknown", "revoked", "pending")
    refusals = [SANDBOX_NEEDED, agent_too_old(None, AgentVersion(0, 2, 0))]
    refusals += [said for state in states if (said := _image_refusal(image, state)) is not None]
    refusals += [said for said in (_image_refusal(None, "unknown"),) if said is not None]
    told = [refusal.message for refusal in refusals]
    told += ["The name 'qwen' is taken; an administrator must approve it."]
    told += ["The clock is +95 s off; please set it.", "The network gives this node work again."]
    assert len(told) == 9
    assert [text for text in told if in_swedish(text) == text] == []


def test_both_languages_tell_the_same() -> None:
    """No value is left out, none made up."""
    assert [text for text in REASONS if fields(text) != fields(REASONS[text])] == []


@pytest.mark.parametrize("code", get_args(Reason))
def test_every_reason_of_a_gang_has_its_swedish(code: Reason) -> None:
    """By its code, with the same values, and found again by its words."""
    assert fields(GANG_REASONS[code]) == fields(SWEDISH[code])
    values = dict.fromkeys(fields(GANG_REASONS[code]), "7")
    assert in_swedish(say(code, **values)) == SWEDISH[code].format(**values)


def test_a_gangs_reason_is_said_from_its_outermost_to_its_innermost() -> None:
    """A rig's part of it, and what its engine said, which stays."""
    lost = say("rank_of", node="rig-1", words=say("rank_ended"))
    assert in_swedish(say("of_group", node="garage", words=lost)) == (
        "gruppen garage: rig-1: dess del har slutat"
    )
    died = say("rank_of", node="rig-1", words="vLLM ended with 1: out of luck")
    assert in_swedish(died) == "rig-1: vLLM slutade med 1: out of luck"
    assert (
        in_swedish("rig-1 does not hold this group's secret") == "rig-1 har inte gruppens hemlighet"
    )


def test_known_words_inside_a_reason_are_said_too() -> None:
    """What nobody here wrote stays."""
    assert in_swedish("loading weights 2/4; about 40 s left") == (
        "laddar vikter 2/4; ungefär 40 s kvar"
    )
    assert in_swedish("vLLM no longer answers: no answer within 5 s") == (
        "vLLM svarar inte längre: inget svar inom 5 s"
    )
    assert in_swedish("the engine ended with SIGKILL; it said: no space") == (
        "motorn slutade med SIGKILL; den sade: no space"
    )
    assert in_swedish("moving house {on} Monday") == "moving house {on} Monday"


@pytest.mark.parametrize("ruled", [Ruled(Size(4096, 8)), Ruled(Size(4096, 8), 9 << 30, 8 << 30)])
def test_what_does_not_fit_is_said_as_the_fitting_says_it(ruled: Ruled) -> None:
    """There are two tables; they hold the same words."""
    said = refusal("qwen", ruled)
    assert in_swedish(said.en) == said.sv


def test_every_state_has_its_swedish() -> None:
    """States of node, engine and link."""
    states = {*get_args(AgentState), *get_args(EngineState), *get_args(LinkState)}
    assert states - {"gone"} <= set(STATES)


def test_an_owner_who_reads_english_is_told_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word."""
    for language, words in (("en", "paused by its owner"), ("sv", "pausad av ägaren")):
        monkeypatch.setattr("garage_ai.cli.reason_words.language", lambda said=language: said)
        assert reason_in_words("paused by its owner") == words
        assert state_in_words("ready") == ("ready" if language == "en" else "redo")
