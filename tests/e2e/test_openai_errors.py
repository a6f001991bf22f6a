"""What the official client sends on, and what it makes of each error; over a mock engine."""

import asyncio
import base64
import json
import struct
import time
from collections.abc import Callable
from functools import partial

import openai
import pytest
from bench.mock_answers import text_of
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hej"}]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}


def test_fields_reach_the_engine(lent: Lent) -> None:
    """What the official API knows passes; the gateway's own wish for usage is added to streams."""
    with lent.product.client() as client:
        stream = client.chat.completions.create(
            model=MODEL,
            messages=HELLO,
            tools=[TOOL],
            tool_choice="required",
            parallel_tool_calls=False,
            response_format={"type": "json_object"},
            logprobs=True,
            top_logprobs=3,
            seed=7,
            stop=["x"],
            temperature=0.5,
            stream=True,
        )
        chunks = list(stream)
    arrived = json.loads(lent.engine.last()["body"])
    assert arrived["tools"][0]["function"]["name"] == "look"
    assert arrived["tool_choice"] == "required"
    assert arrived["parallel_tool_calls"] is False
    assert arrived["response_format"] == {"type": "json_object"}
    assert (arrived["logprobs"], arrived["top_logprobs"]) == (True, 3)
    assert (arrived["seed"], arrived["stop"], arrived["temperature"]) == (7, ["x"], 0.5)
    assert arrived["stream_options"] == {"include_usage": True}
    assert not any(chunk.usage for chunk in chunks)
    calls = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or []]
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert json.loads(arguments) == {"word": "w0"}


def test_a_tool_call_in_a_whole_answer(lent: Lent) -> None:
    """The engine's call arrives as it was made."""
    with lent.product.client() as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=HELLO, tools=[TOOL], tool_choice="required"
        )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "look"


def test_embeddings(lent: Lent) -> None:
    """Vectors come for each text, as numbers or packed, as the client asks."""
    with lent.product.client() as client:
        answer = client.embeddings.create(model=MODEL, input=["a", "b"], encoding_format="float")
        raw = client.embeddings.with_raw_response.create(model=MODEL, input="a")
    assert [item.index for item in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == 8
    assert raw.headers["x-gai-node"] == lent.node.id
    assert len(raw.parse().data[0].embedding) == 8


def test_completions(lent: Lent) -> None:
    """The older API goes the same way."""
    with lent.product.client() as client:
        answer = client.completions.create(model=MODEL, prompt="Hej", max_tokens=3)
        stream = client.completions.create(model=MODEL, prompt="Hej", max_tokens=3, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == text_of(3)
    assert answer.choices[0].text == text_of(3)


def mistyped(lent: Lent) -> str:
    """Give the key with another last letter."""
    key = lent.product.key
    return key[:-1] + ("y" if key.endswith("x") else "x")


def revoked(lent: Lent) -> str:
    """Make a key and revoke it."""
    key = lent.product.new_key()
    assert lent.http.ask("DELETE", f"/api/v1/keys/{key['id']}").status == 200
    return str(key["key"])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _: "sk-other", "invalid_api_key"),
        (mistyped, "invalid_api_key"),
        (revoked, "revoked_api_key"),
    ],
    ids=["foreign", "mistyped", "revoked"],
)
def test_a_wrong_key(lent: Lent, make: Callable[[Lent], str], code: str) -> None:
    """No request gets by without a good key, and a revoked one is dead at once."""
    key = make(lent)
    with lent.product.client(key) as client, pytest.raises(openai.AuthenticationError) as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert raised.value.code == code
    assert raised.value.request_id


def test_a_model_that_is_not_there(lent: Lent) -> None:
    """It is NotFoundError with the code that OpenAI uses."""
    with lent.product.client() as client, pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="nonesuch", messages=HELLO)
    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_tokens", 0), ("n", 100), ("temperature", 9), ("top_logprobs", 50), ("stop", ["x"] * 9)],
)
def test_a_field_beyond_its_bounds(lent: Lent, field: str, value: object) -> None:
    """It is BadRequestError, and `param` names the field."""
    with lent.product.client() as client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO, extra_body={field: value})
    assert raised.value.code == "invalid_value"
    assert (raised.value.param or "").startswith(field)
    assert lent.engine.state()["seen"] == 0


def test_an_image_from_elsewhere(lent: Lent) -> None:
    """Nothing is fetched for a client; media comes as `data:` URLs, which pass."""
    pixel = "data:image/png;base64," + base64.b64encode(struct.pack("<I", 1)).decode()

    def ask(url: str) -> None:
        client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
            ],
        )

    with lent.product.client() as client:
        with pytest.raises(openai.BadRequestError) as raised:
            ask("https://example.org/cat.png")
        ask(pixel)
    assert raised.value.code == "media_url_unsupported"
    assert pixel in lent.engine.last()["body"]


def test_a_key_without_the_scope(lent: Lent) -> None:
    """A user's key opens the OpenAI API and nothing of the administration."""
    user = lent.product.new_key()["key"]
    with lent.product.client(user) as client:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    answer = lent.http.with_key(user).get("/api/v1/nodes")
    assert (answer.status, answer.code) == (403, "insufficient_scope")


def test_a_key_that_may_not_leave_its_region(lent: Lent) -> None:
    """What it asks outside is PermissionDeniedError; what nobody there can serve is 503."""
    bound = lent.product.new_key(region="SE-AB")["key"]
    with lent.product.client(bound) as client:
        with pytest.raises(openai.PermissionDeniedError) as raised:
            client.chat.completions.create(
                model=MODEL, messages=HELLO, extra_headers={"x-gai-region": "SE-O"}
            )
        with pytest.raises(openai.InternalServerError) as unserved:
            client.chat.completions.create(model=MODEL, messages=HELLO)
    assert raised.value.code == "region_forbidden"
    assert unserved.value.status_code == 503
    assert unserved.value.code == "region_unavailable"


def test_an_engine_that_rejects(lent: Lent) -> None:
    """Its 400 is the client's own error, with the engine's words."""
    lent.engine.set(fail_every=1, fail_status=400)
    with lent.product.client() as client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert raised.value.code == "engine_rejected"
    assert "told to fail" in str(raised.value)


def test_a_stream_that_breaks(lent: Lent) -> None:
    """The client gets what came before the fault, then an APIError with the code."""
    lent.engine.set(cut_after=3)
    seen: list[str | None] = []

    def read(client: openai.OpenAI) -> None:
        for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
            seen.append(chunk.choices[0].delta.content)

    with lent.product.client() as client, pytest.raises(openai.APIError) as raised:
        read(client)
    assert seen == [" w0", " w1", " w2"]
    assert raised.value.code in {"engine_error", "bad_node_reply"}


def test_a_stream_that_is_closed_frees_the_slot(lent: Lent) -> None:
    """The engine is told to stop within 200 ms of the client's leaving."""
    lent.engine.set(chunk_delay=0.01, chunks=10_000)

    def is_cancelled(times: int) -> bool:
        return lent.engine.state()["cancelled"] == times

    def leaves(client: openai.OpenAI, count: int) -> float:
        stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        next(iter(stream))
        left = time.monotonic()
        stream.close()
        eventually("a cancel", partial(is_cancelled, count))
        return time.monotonic() - left

    with lent.product.client() as client:
        # One of twenty: the machine may be busy with something else in between.
        assert any(leaves(client, count) < 0.2 for count in range(1, 21))
    assert lent.engine.is_idle()


@pytest.mark.anyio
async def test_an_async_client_that_leaves(lent: Lent) -> None:
    """A stream closed early and a request cancelled while it waits both free the slot."""
    lent.engine.set(chunk_delay=0.01, chunks=10_000)
    async with lent.product.async_client() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        async for _ in stream:
            break
        await stream.close()
        # What runs from here on is the next one's.
        await asyncio.to_thread(eventually, "an idle engine", lent.engine.is_idle)
        lent.engine.set(first_byte_delay=30.0)
        waiting = asyncio.create_task(
            client.chat.completions.create(model=MODEL, messages=HELLO)  # not streamed
        )
        await asyncio.to_thread(eventually, "work", lambda: lent.engine.state()["running"] == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(eventually, "an idle engine", lent.engine.is_idle)
    assert lent.engine.state()["cancelled"] == 2
