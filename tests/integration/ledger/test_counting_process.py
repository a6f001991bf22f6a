"""What counts is a process of its own: nothing that a stranger made ends the gateway with it."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.parts.counted_engine import manifest, weights
from tests.parts.headers import TEMPLATE, rewritten
from tests.parts.metering import count_with
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from garage_ai.catalog import digest_of, read_gguf
from garage_ai.ledger.counting import clerk
from garage_ai.ledger.counting.layout import HEADER, TOKENIZER, folder_of
from garage_ai.ledger.counting.orders import Count, Refused, Replies
from garage_ai.ledger.metering import Counted, TokenMeter

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DIGEST = digest_of(manifest())
HOSTILE = "sha256:" + "b" * 64
OTHER = "sha256:" + "c" * 64
BODY = json.dumps({"model": "x", "messages": [{"role": "user", "content": "Hej"}]}).encode()
BY_RULE = 1  # "Hej" is three bytes


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a count wait longer than it may in service: other tests have the processor too."""
    monkeypatch.setattr(clerk, "COUNT_SECONDS", 10.0)


def keep(folder: Path, digest: str, model: Path) -> None:
    """Keep a model's header as the library does."""
    place = folder_of(folder, digest)
    place.mkdir(parents=True)
    with model.open("rb") as file:
        (place / HEADER).write_bytes(file.read(read_gguf(model).size))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped model's tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizers")
    keep(folder, DIGEST, weights())
    return folder


@pytest.fixture
def reasons() -> Counter[str]:
    """Why requests were counted as they were."""
    return Counter()


@pytest.fixture
async def meter(kept: Path, reasons: Counter[str]) -> AsyncIterator[TokenMeter]:
    """A meter that is ready for the shipped model."""
    made = TokenMeter.start(kept, lambda reason: reasons.update([reason]))
    assert await made.load(DIGEST)
    yield made
    await made.close()


async def test_a_request_is_counted(meter: TokenMeter, reasons: Counter[str]) -> None:
    """Its prompt, and each text for itself."""
    counted = await count_with(meter, DIGEST, "chat", BODY, ["Hej på dig", "", "!"])
    assert (counted.prompt_tokens, counted.source, counted.exact) == (32, "tokenizer", True)
    assert counted.each == (5, 0, 1)
    assert counted.completion_tokens == 6
    assert reasons == {"counted": 1}


async def test_many_at_once_are_told_apart(meter: TokenMeter) -> None:
    """They share packets, not counts."""
    texts = [["a " * number] for number in range(1, 200)]
    found = await asyncio.gather(*(count_with(meter, DIGEST, "chat", BODY, text) for text in texts))
    assert [each.source for each in found] == ["tokenizer"] * len(found)
    lengths = [each.completion_tokens for each in found]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == len(lengths)


async def test_no_more_is_billed_than_was_asked_for(meter: TokenMeter) -> None:
    """A node that goes on after the end works for nothing."""
    body = json.dumps({"model": "x", "messages": [], "max_tokens": 3, "n": 2}).encode()
    counted = await count_with(meter, DIGEST, "chat", body, ["a b c d", "e f g h"])
    assert counted.each == (4, 2)


@pytest.mark.parametrize("digest", [None, "sha256:" + "0" * 64])
async def test_what_nobody_knows_is_counted_by_the_rule(
    meter: TokenMeter, reasons: Counter[str], digest: str | None
) -> None:
    """Four bytes are a token, and no node earns by that."""
    counted = await count_with(meter, digest, "chat", BODY, ["åäö", "x"])
    assert (counted.prompt_tokens, counted.each, counted.source) == (BY_RULE, (2, 1), "rule")
    assert not counted.exact
    assert reasons == {"absent": 1}


async def test_what_was_taken_out_of_the_catalogue_is_counted_by_the_rule(
    kept: Path, reasons: Counter[str]
) -> None:
    """Though its tokenizer is here and ready, and at once."""
    known = {DIGEST}
    meter = TokenMeter.start(kept, lambda reason: reasons.update([reason]), known.__contains__)
    try:
        assert await meter.load(DIGEST)
        assert (await count_with(meter, DIGEST, "chat", BODY, ["x"])).source == "tokenizer"
        known.clear()
        assert (await count_with(meter, DIGEST, "chat", BODY, ["x"])).source == "rule"
        known.add(DIGEST)
        assert (await count_with(meter, DIGEST, "chat", BODY, ["x"])).source == "tokenizer"
    finally:
        await meter.close()
    assert reasons == {"counted": 2, "absent": 1}


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GREEDY = (
    "{% set ns = namespace(x='x' * 9999) %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}"
)


@pytest.mark.parametrize("template", [ENDLESS, GREEDY], ids=["endless", "greedy"])
async def test_a_hostile_template_ends_only_its_own_count(
    kept: Path, tmp_path: Path, template: str, reasons: Counter[str]
) -> None:
    """The kernel ends the process; the gateway's loop goes on, and so do other models' counts."""
    folder = tmp_path / "tokenizers"
    keep(folder, HOSTILE, rewritten(weights(), tmp_path / "model.gguf", {TEMPLATE: template}))
    folder_of(folder, DIGEST).symlink_to(folder_of(kept, DIGEST))
    meter = TokenMeter.start(folder, lambda reason: reasons.update([reason]))
    try:
        assert await meter.load(HOSTILE)
        began = time.monotonic()
        counted = await count_with(meter, HOSTILE, "chat", BODY, ["hej"])
        assert time.monotonic() - began < clerk.COUNT_SECONDS + 10
        assert counted.prompt_tokens > 0
        assert set(reasons) <= {"late", "broken", "counted"}
        async with asyncio.timeout(40):
            # What was asked of the process that ended is refused; the next one has it again.
            while not await meter.load(DIGEST):
                pass
            assert (await count_with(meter, DIGEST, "chat", BODY, [])).source == "tokenizer"
    finally:
        await meter.close()


@pytest.fixture
async def two_models(kept: Path, tmp_path: Path) -> AsyncIterator[TokenMeter]:
    """A meter that is ready for the shipped model under two names."""
    for digest in (DIGEST, OTHER):
        folder_of(tmp_path, digest).parent.mkdir(parents=True, exist_ok=True)
        folder_of(tmp_path, digest).symlink_to(folder_of(kept, DIGEST))
    made = TokenMeter.start(tmp_path)
    assert await made.load(DIGEST)
    assert await made.load(OTHER)
    yield made
    await made.close()


async def test_a_large_request_is_counted_and_keeps_no_other_model_waiting(
    two_models: TokenMeter,
) -> None:
    """It takes the process seconds; chats are counted between its pieces."""
    line = "A guard looks at who holds the card, and counts 1,234 of them. " * 60
    single = json.dumps({"model": "x", "input": line}).encode()
    one = await count_with(two_models, OTHER, "embeddings", single, [])
    large = json.dumps({"model": "x", "input": [line] * 2000}).encode()
    assert len(large) > 7_000_000
    counting = asyncio.create_task(count_with(two_models, OTHER, "embeddings", large, []))
    between = 0
    while not counting.done():
        chat = await count_with(two_models, DIGEST, "chat", BODY, ["Hej"])
        assert chat.source == "tokenizer"
        between += 1
    assert between > 10
    counted = await counting
    assert (counted.source, counted.exact) == ("tokenizer", True)
    assert counted.prompt_tokens == 2000 * one.prompt_tokens
    assert two_models.waiting == 0


async def test_a_large_request_ends_with_the_counting(two_models: TokenMeter) -> None:
    """By the rule, as what else is under way; so does one that waits for another large one."""
    large = json.dumps({"model": "x", "input": ["some words " * 400] * 2000}).encode()
    counting = [
        asyncio.create_task(count_with(two_models, OTHER, "embeddings", large, []))
        for _ in range(2)
    ]
    await count_with(two_models, DIGEST, "chat", BODY, [])
    await two_models.close()
    assert [each.source for each in await asyncio.gather(*counting)] == ["rule", "rule"]
    assert two_models.waiting == 0


async def test_what_is_large_is_counted_before_the_counting_ends(kept: Path) -> None:
    """By the rule in a thread: a record that came later would find nobody to write it."""
    meter = TokenMeter.start(kept)
    body = json.dumps({"model": "x", "messages": [{"role": "user", "content": "å" * 3_000_000}]})
    counted = list[Counted]()
    meter.begin(None, "chat", body.encode(), ["Hej"], counted.append)
    await meter.close()
    assert [each.source for each in counted] == ["rule"]


async def test_too_much_at_once_is_counted_by_the_rule(
    meter: TokenMeter, reasons: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded in number and in bytes."""
    monkeypatch.setattr(clerk, "MAX_WAITING", 3)
    await asyncio.gather(*(count_with(meter, DIGEST, "chat", BODY, []) for _ in range(5)))
    assert reasons == {"counted": 3, "overloaded": 2}
    monkeypatch.setattr(clerk, "MAX_BYTES", 10)
    await count_with(meter, DIGEST, "chat", BODY, [])
    assert reasons["overloaded"] == 3


async def test_a_count_that_comes_too_late_is_one_by_the_rule(
    meter: TokenMeter, reasons: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record waits no longer; the reply is taken all the same, and belongs to nobody."""
    monkeypatch.setattr(clerk, "COUNT_SECONDS", 0.0)
    late = await count_with(meter, DIGEST, "chat", BODY, ["hej"])
    monkeypatch.undo()
    assert (late.source, reasons) == ("rule", {"late": 1})
    assert (await count_with(meter, DIGEST, "chat", BODY, [])).source == "tokenizer"
    assert meter.waiting == 0


@pytest.fixture
async def endless(
    kept: Path, tmp_path: Path, reasons: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TokenMeter]:
    """A meter for the shipped model, and for one with a template that does not end for some."""
    monkeypatch.setattr(clerk, "_LONGEST_PAUSE", 0.0)  # the next process starts soon
    folder = tmp_path / "tokenizers"
    template = f"{{% if messages[0].content == 'on' %}}{ENDLESS}{{% endif %}}x"
    keep(folder, HOSTILE, rewritten(weights(), tmp_path / "model.gguf", {TEMPLATE: template}))
    folder_of(folder, DIGEST).symlink_to(folder_of(kept, DIGEST))
    meter = TokenMeter.start(folder, lambda reason: reasons.update([reason]))
    yield meter
    await meter.close()


ON = json.dumps({"model": "x", "messages": [{"role": "user", "content": "on"}]}).encode()


async def ready(meter: TokenMeter) -> None:
    """Wait for a process that counts; what was asked of one that ends meanwhile is refused."""
    async with asyncio.timeout(40):
        while not (await meter.load(HOSTILE) and await meter.load(DIGEST)):
            pass


async def test_a_model_that_ended_the_process_often_is_counted_again_after_a_while(
    endless: TokenMeter, reasons: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it was counted in between; until then it costs nobody another process."""
    for _ in range(clerk.STRIKES):
        await ready(endless)
        assert (await count_with(endless, HOSTILE, "chat", BODY, [])).source == "tokenizer"
        assert (await count_with(endless, HOSTILE, "chat", ON, [])).source == "rule"
    await ready(endless)
    reasons.clear()
    assert (await count_with(endless, HOSTILE, "chat", BODY, [])).source == "rule"
    assert (await count_with(endless, DIGEST, "chat", BODY, [])).source == "tokenizer"
    assert reasons == {"broken": 1, "counted": 1}
    monkeypatch.setattr(clerk, "STRIKE_SECONDS", 0.0)
    assert (await count_with(endless, HOSTILE, "chat", BODY, [])).source == "tokenizer"


async def test_who_ends_the_process_has_what_was_counted_before_told(
    endless: TokenMeter, reasons: Counter[str]
) -> None:
    """Another model's count in the same packet is not lost with it, nor is that model blamed."""
    await ready(endless)
    asked = [(DIGEST, BODY), (HOSTILE, ON), (DIGEST, BODY)]
    found = await asyncio.gather(
        *(count_with(endless, each, "chat", body, []) for each, body in asked)
    )
    assert [each.source for each in found] == ["tokenizer", "rule", "rule"]
    assert reasons["counted"] == 1


async def test_a_text_that_a_vocabulary_has_no_token_for_is_refused_alone(
    kept: Path, tmp_path: Path, reasons: Counter[str]
) -> None:
    """The library raises what nobody foresaw; the process goes on, and so do others' counts."""
    folder_of(tmp_path, DIGEST).symlink_to(folder_of(kept, DIGEST))
    folder_of(tmp_path, OTHER).mkdir()
    Tokenizer(WordLevel({"hej": 0})).save(str(folder_of(tmp_path, OTHER) / TOKENIZER))
    meter = TokenMeter.start(tmp_path, lambda reason: reasons.update([reason]))
    body = json.dumps({"model": "x", "prompt": "hej"}).encode()
    try:
        assert await meter.load(OTHER)
        assert await meter.load(DIGEST)
        asked = [(OTHER, "hej"), (OTHER, "nej"), (OTHER, "hej"), (DIGEST, "nej")]
        found = await asyncio.gather(
            *(count_with(meter, digest, "completions", body, [text]) for digest, text in asked)
        )
    finally:
        await meter.close()
    assert [each.source for each in found] == ["tokenizer", "rule", "tokenizer", "tokenizer"]
    assert reasons == {"counted": 3, "refused": 1}


async def test_a_stop_of_all_processes_at_once_ends_no_count(meter: TokenMeter) -> None:
    """As of a service: what ends while the gateway still lets it is counted, and its node earns."""
    process = meter._clerk._process
    assert process is not None
    for stop in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(stop)
    counted = await count_with(meter, DIGEST, "chat", BODY, ["Hej"])
    assert counted.source == "tokenizer"


async def test_who_waits_no_more_is_told_nothing(kept: Path) -> None:
    """Neither a load nor a count that was given up ends the counting, or keeps it from its end."""
    meter = TokenMeter.start(kept)
    assert await meter.load(DIGEST)
    for given_up in (meter.load(DIGEST), count_with(meter, DIGEST, "chat", BODY, ["x"])):
        task = asyncio.create_task(given_up)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    assert (await count_with(meter, DIGEST, "chat", BODY, ["x"])).source == "tokenizer"
    loading = asyncio.create_task(meter.load(DIGEST))
    await asyncio.sleep(0)
    loading.cancel()
    await asyncio.wait({loading})
    await meter.close()


async def test_a_reply_that_cannot_be_read_ends_one_process_not_the_counting(
    kept: Path, reasons: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is started, and counts."""
    feed = Replies.feed
    broken: list[bytes] = []

    def garbled(self: Replies, data: bytes) -> Iterator[Count | Refused]:
        if not broken:
            broken.append(data)
            raise msgspec.DecodeError("what is that?")
        return feed(self, data)

    monkeypatch.setattr(Replies, "feed", garbled)
    meter = TokenMeter.start(kept, lambda reason: reasons.update([reason]))
    try:
        assert not await meter.load(DIGEST)
        async with asyncio.timeout(30):
            while not await meter.load(DIGEST):
                pass
        counted = await count_with(meter, DIGEST, "chat", BODY, ["Hej"])
        assert counted.source == "tokenizer"
    finally:
        await meter.close()


async def test_after_the_end_the_rule_holds(kept: Path) -> None:
    """Nobody waits for a process that is gone."""
    meter = TokenMeter.start(kept)
    await meter.close()
    assert (await count_with(meter, DIGEST, "chat", BODY, ["hej"])).source == "rule"


async def test_a_process_that_does_not_end_is_ended(
    meter: TokenMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is stopped or swapped out does not outlive the gateway."""
    monkeypatch.setattr(clerk, "END_SECONDS", 0.1)
    process = meter._clerk._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    await meter.close()
    assert process.returncode == -signal.SIGKILL
