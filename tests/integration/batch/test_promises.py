"""What is set aside for items before anybody knows where they will run."""

from collections.abc import Mapping

import msgspec
import pytest
from tests.integration.batch.world import World
from tests.integration.network.conftest import SMALL, MakeNode, until
from tests.integration.serving.test_service import KEY
from tests.parts.unbilled import NoLimits

from garage_ai.batch import Reading
from garage_ai.gateway.request import read_request
from garage_ai.network.names import KnownModel
from garage_ai.serving import UNKNOWN_CONTEXT
from garage_ai.wire.ids import Digest

pytestmark = pytest.mark.anyio

CONTEXT = 32_768
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 120_000}}


def reading(content: object, model: str = "small", **more: object) -> Reading:
    """Read a chat as a line of a batch has it."""
    body: Mapping[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        **more,
    }
    return read_request("chat", msgspec.json.encode(body))


@pytest.fixture
def long_world(world: World) -> World:
    """A world in whose catalogue a model reads more than is usual."""
    world.network.catalogue_is([KnownModel("small", SMALL.digest, "chat", CONTEXT, rank=1)])
    return world


@pytest.mark.parametrize("served", [False, True])
async def test_a_hold_does_not_hang_on_who_serves_the_model_just_now(
    long_world: World, make_node: MakeNode, served: bool
) -> None:
    """A line that a node could read is set aside for in full: 1 nGAI a token, 10 of the answer."""
    if served:
        await make_node()
    asked = reading("word " * 24_000, max_tokens=10)
    assert long_world.promises.worst(KEY, asked) == CONTEXT + 10 * 10
    assert long_world.promises.worst(KEY, reading("hej")) >= 10 * CONTEXT


async def test_a_hold_of_a_model_that_nobody_knows_yet_goes_by_the_line(world: World) -> None:
    """By its bytes and by what is asked; pictures are billed by the piece, not by their bytes."""
    worst = world.promises.worst
    for model in ("garage-chat", "own"):
        asked = reading("word " * 24_000, model, max_tokens=20_000)
        assert worst(KEY, asked) == len(asked.body) + 10 * 20_000
        short = reading("hej", model)
        assert worst(KEY, short) == len(short.body) + 10 * UNKNOWN_CONTEXT
        seen = reading([{"type": "text", "text": "What is it?"}, PICTURE], model, max_tokens=10)
        assert worst(KEY, seen) < 2 * UNKNOWN_CONTEXT


async def test_the_alias_is_set_aside_for_as_the_model_that_the_key_may_use(
    long_world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as the network's best, of which it gets nothing: that costs less, or more than it has."""
    network, worst = long_world.network, long_world.promises.worst
    best = KnownModel("best", Digest("sha256:" + "b" * 64), "chat", 2 * CONTEXT, rank=2)
    network.catalogue_is([KnownModel("small", SMALL.digest, "chat", CONTEXT, rank=1), best])
    await make_node("n0")
    other = await make_node("n1")
    other.model = msgspec.structs.replace(other.model, name=best.name, digest=best.digest)
    await other.beat()
    await until(lambda: network.registry.pool(best.name) is not None)
    asked = reading("hej", "garage-chat")
    assert worst(KEY, asked) == len(asked.body) + 10 * 2 * CONTEXT
    monkeypatch.setattr(NoLimits, "models", lambda *_: frozenset({"small"}))
    assert worst(KEY, asked) == len(asked.body) + 10 * CONTEXT
