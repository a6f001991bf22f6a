"""The official client sees what it sees at OpenAI."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.parts.edge import Edge

pytestmark = pytest.mark.anyio


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    """The module's edge, with no calls noted."""
    shared_edge.serving.forget()
    return shared_edge


HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    """The async client with a user's key."""
    async with openai.AsyncOpenAI(
        base_url=f"{edge.url}/v1", api_key=edge.user, max_retries=0
    ) as made:
        yield made


async def test_plain(client: openai.AsyncOpenAI) -> None:
    """A plain answer arrives whole."""
    answer = await client.chat.completions.create(model="garage-chat", messages=HELLO)
    assert answer.choices[0].message.content == "Hello there"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3


async def test_stream(client: openai.AsyncOpenAI) -> None:
    """A streamed answer arrives in its pieces."""
    stream = await client.chat.completions.create(model="garage-chat", messages=HELLO, stream=True)
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert pieces == ["Hello", " there"]


async def test_sync_client(edge: Edge) -> None:
    """The sync client works too, streamed and plain."""

    def talk() -> tuple[str | None, list[str | None]]:
        with openai.OpenAI(base_url=f"{edge.url}/v1", api_key=edge.user, max_retries=0) as made:
            plain = made.chat.completions.create(model="garage-chat", messages=HELLO)
            stream = made.chat.completions.create(model="garage-chat", messages=HELLO, stream=True)
            return plain.choices[0].message.content, [c.choices[0].delta.content for c in stream]

    assert await asyncio.to_thread(talk) == ("Hello there", ["Hello", " there"])


async def test_models(client: openai.AsyncOpenAI) -> None:
    """Models are listed and shown one by one, slashes and all."""
    listed = [model.id async for model in client.models.list()]
    assert listed == ["garage-chat", "org/small"]
    assert (await client.models.retrieve("org/small")).object == "model"


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("missing", openai.NotFoundError, "model_not_found"),
        ("nobody", openai.InternalServerError, "no_node"),
        ("broken", openai.InternalServerError, "internal_error"),
    ],
)
async def test_errors(
    client: openai.AsyncOpenAI, model: str, error: type[openai.APIStatusError], code: str
) -> None:
    """The client raises its own exceptions, with our code and request id."""
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.code == code
    assert caught.value.request_id is not None
    assert "secret" not in str(caught.value)


async def test_wrong_key(edge: Edge) -> None:
    """A wrong key is an authentication error."""
    async with openai.AsyncOpenAI(
        base_url=f"{edge.url}/v1", api_key="gai_wrong", max_retries=0
    ) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_broken_stream(client: openai.AsyncOpenAI) -> None:
    """A stream that breaks ends in an error event, which the client raises."""
    stream = await client.chat.completions.create(model="breaking", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_leaving(edge: Edge, client: openai.AsyncOpenAI) -> None:
    """Closing a stream stops the work at once."""
    stream = await client.chat.completions.create(model="held", messages=HELLO, stream=True)
    async for _ in stream:
        break
    left_at = asyncio.get_running_loop().time()
    await stream.close()
    reply = edge.serving.replies[0]
    await asyncio.wait_for(reply.closed.wait(), 20)
    assert reply.closed_at - left_at < 2  # it is some milliseconds


async def test_embeddings(edge: Edge, client: openai.AsyncOpenAI) -> None:
    """The client's own defaults pass."""
    await client.embeddings.with_raw_response.create(model="garage-embed", input=["a", "b"])
    call = edge.serving.calls[0]
    assert call.route == "embeddings"
    assert call.body == b'{"model":"garage-embed","input":["a","b"],"encoding_format":"base64"}'
