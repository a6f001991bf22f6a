"""The official client against the real small model, as ./start.sh brings it up."""

import asyncio
import json

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from tests.parts.product import REAL, Product
from tests.parts.waiting import eventually

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello in one word."}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}


def test_a_whole_answer(garage: Product) -> None:
    """A real model answers, and says what it took."""
    with garage.client() as client:
        answer = client.chat.completions.create(
            model=REAL, messages=HELLO, max_tokens=16, temperature=0, seed=1
        )
    [choice] = answer.choices
    assert answer.object == "chat.completion"
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 5
    assert 0 < answer.usage.completion_tokens <= 16


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_with_and_without_usage(garage: Product, asked: bool) -> None:
    """Usage comes in a last event of its own, if and only if it was asked for."""
    with garage.client() as client:
        stream = client.chat.completions.create(
            model=REAL,
            messages=HELLO,
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": asked},
        )
        chunks = list(stream)
    with_usage = [chunk for chunk in chunks if chunk.usage is not None]
    without_choices = [chunk for chunk in chunks if not chunk.choices]
    assert with_usage == without_choices == (chunks[-1:] if asked else [])
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    if with_usage and with_usage[0].usage:
        assert with_usage[0].usage.completion_tokens > 0


@pytest.mark.anyio
async def test_the_async_client_runs_requests_side_by_side(garage: Product) -> None:
    """Four streams at once all end well, and each says something."""

    async def ask(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model=REAL, messages=HELLO, max_tokens=12, stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async with garage.async_client() as client, asyncio.timeout(40):
        answers = await asyncio.gather(*(ask(client) for _ in range(4)))
        whole = await client.chat.completions.create(model=REAL, messages=HELLO, max_tokens=4)
    assert all(answers)
    assert whole.choices[0].message.content


def test_tools_are_taken(garage: Product) -> None:
    """A request with tools is answered; whether so small a model calls one is its own affair."""
    with garage.client() as client:
        answer = client.chat.completions.create(
            model=REAL, messages=HELLO, tools=[WEATHER], tool_choice="auto", max_tokens=24
        )
    message = answer.choices[0].message
    assert message.content or message.tool_calls


def test_an_answer_in_the_shape_asked_for(garage: Product) -> None:
    """A JSON schema binds even a very small model."""
    schema = {
        "type": "object",
        "properties": {"happy": {"type": "boolean"}},
        "required": ["happy"],
        "additionalProperties": False,
    }
    with garage.client() as client:
        answer = client.chat.completions.create(
            model=REAL,
            messages=[{"role": "user", "content": "Are you happy? Answer in JSON."}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "mood", "schema": schema, "strict": True},
            },
            max_tokens=40,
        )
    said = json.loads(answer.choices[0].message.content or "")
    assert isinstance(said["happy"], bool)


def test_log_probabilities(garage: Product) -> None:
    """Each token comes with as many alternatives as were asked for."""
    with garage.client() as client:
        answer = client.chat.completions.create(
            model=REAL, messages=HELLO, max_tokens=3, logprobs=True, top_logprobs=2
        )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)
    assert all(token.logprob <= 0 for token in logprobs.content)


def test_stop_ends_an_answer(garage: Product) -> None:
    """Text behind a stop string does not come."""
    with garage.client() as client:
        answer = client.chat.completions.create(
            model=REAL,
            messages=[{"role": "user", "content": "Count: 1, 2, 3, 4, 5, 6"}],
            max_tokens=40,
            temperature=0,
            stop=[","],
        )
    assert "," not in (answer.choices[0].message.content or "")


def test_completions(garage: Product) -> None:
    """The older API continues a text, whole and as a stream."""
    with garage.client() as client:
        whole = client.completions.create(
            model=REAL, prompt="The capital of Sweden is", max_tokens=8, temperature=0
        )
        stream = client.completions.create(
            model=REAL, prompt="One, two, three,", max_tokens=8, temperature=0, stream=True
        )
        text = "".join(chunk.choices[0].text for chunk in stream)
    assert whole.choices[0].text
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 8
    assert text


def test_models(garage: Product) -> None:
    """The alias and the model behind it are listed, and each can be asked for alone."""
    with garage.client() as client:
        listed = {model.id: model for model in client.models.list()}
        one = client.models.retrieve(REAL)
        with pytest.raises(openai.NotFoundError) as raised:
            client.models.retrieve("nonesuch")
    assert REAL in listed
    assert len(listed) == 2
    assert one == listed[REAL]
    assert raised.value.code == "model_not_found"


def test_a_chat_model_gives_no_embeddings(garage: Product) -> None:
    """What the model cannot do is a typed error, not a fault."""
    with garage.client() as client, pytest.raises(openai.APIStatusError) as raised:
        client.embeddings.create(model=REAL, input="hej")
    assert (raised.value.code, raised.value.status_code) == ("model_kind", 400)


def test_a_prompt_beyond_the_context(garage: Product) -> None:
    """It is the client's error, with its own code."""
    with garage.client() as client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model=REAL, messages=[{"role": "user", "content": "word " * 20_000}], max_tokens=4
        )
    assert raised.value.code == "context_length_exceeded"


def test_a_client_that_leaves_frees_the_engine(garage: Product) -> None:
    """After a stream is closed early, the real engine is idle again at once."""
    with garage.client() as client:
        for _ in range(12):  # more than the engine has slots
            with client.chat.completions.create(
                model=REAL,
                messages=[{"role": "user", "content": "Write a very long story."}],
                max_tokens=2000,
                logit_bias={"2": -100},  # it shall not end by itself
                stream=True,
            ) as stream:
                next(iter(stream))
        answer = client.chat.completions.create(model=REAL, messages=HELLO, max_tokens=2)
    assert answer.choices[0].message.content is not None

    def nothing_runs() -> bool:
        [node] = garage.nodes()
        return bool(node["inflight"] == sum(each["running"] for each in node["models"]) == 0)

    # What runs is told in beats, one in five seconds where nothing else is to be told.
    eventually("an idle node", nothing_runs)
