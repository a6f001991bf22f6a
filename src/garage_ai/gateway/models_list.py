"""`GET /v1/models` and `GET /v1/models/{id}` in OpenAI's format; more under `gai`."""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from garage_ai.gateway import asgi
from garage_ai.gateway.asgi import Receive, Send
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.services import KeyLimits, Network, Prices
from garage_ai.network.models import ModelView

PREFIX: Final = "/v1/models/"


class PriceShown(msgspec.Struct, frozen=True):
    """What 1,000 tokens cost now, in whole nGAI."""

    prompt: str
    completion: str


class Extra(msgspec.Struct, frozen=True):
    """What OpenAI's format has no place for; `context` in tokens."""

    digest: str
    kind: str
    context: int
    nodes: int
    slots: int
    alias_of: str | None
    price: PriceShown


class Model(msgspec.Struct, frozen=True):
    """A model as OpenAI shows one."""

    id: str
    created: int
    gai: Extra
    object: str = "model"
    owned_by: str = "garage-ai"


class ModelList(msgspec.Struct, frozen=True):
    """A list as OpenAI shows one."""

    data: list[Model]
    object: str = "list"


_encoder: Final = msgspec.json.Encoder()


class Models:
    """Answer with the models that are served now and that the key may use."""

    def __init__(
        self, doorkeeper: Doorkeeper, network: Network, limits: KeyLimits, prices: Prices
    ) -> None:
        self._doorkeeper = doorkeeper
        self._network = network
        self._limits = limits
        self._prices = prices
        # A manifest has no date; clients want a number that does not change at every call.
        self._created = int(time.time())

    async def list(self, scope: asgi.Scope, _receive: Receive, send: Send) -> None:
        """List them."""
        models = [self._shown(view) for view in self._views(scope)]
        await self._answer(scope, send, _encoder.encode(ModelList(models)))

    async def one(self, scope: asgi.Scope, _receive: Receive, send: Send) -> None:
        """Show one; ids may contain slashes."""
        views = self._views(scope)
        name = scope["path"].removeprefix(PREFIX)
        view = next((view for view in views if view.name == name), None)
        if view is None:
            raise GatewayError(
                "model_not_found", f"No model {name[:200]!r} is served.", param="model"
            )
        await self._answer(scope, send, _encoder.encode(self._shown(view)))

    def _views(self, scope: asgi.Scope) -> Sequence[ModelView]:
        """Give what the key may use, of what serves its member. Raises: as `Doorkeeper.admit`."""
        key = self._doorkeeper.admit(scope, "inference")
        return self._network.models(self._limits.models(key), key.member)

    def _shown(self, view: ModelView) -> Model:
        price = self._prices.price(view.digest, view.alias_of or view.name)
        extra = Extra(
            view.digest,
            view.kind,
            view.context,
            view.nodes,
            view.slots,
            view.alias_of,
            PriceShown(str(price.prompt), str(price.completion)),
        )
        return Model(view.name, self._created, extra)

    async def _answer(self, scope: asgi.Scope, send: Send, body: bytes) -> None:
        request = asgi.request_id(scope).encode()
        await asgi.answer(send, 200, body, [asgi.JSON, (b"x-request-id", request)])


__all__ = ["Models"]
