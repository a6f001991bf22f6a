"""What an agent needs of an engine, whatever it is: llama.cpp, the owner's own server, vLLM."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from garage_ai.node.fitting.book import Peak
from garage_ai.node.guard.words import Sentence
from garage_ai.node.speeds import Pace
from garage_ai.wire.frames import Priority, Route
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ROUTES, EngineImage, EngineState, ModelKind, SandboxKind

PATHS: Final[dict[Route, str]] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
"""The only paths of an engine that a request from the network ever reaches."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What stands between an engine and its PC: nothing, or a container of `kind`.

    `limits` tells whether its bounds on memory and processes hold on this host, `image` what the
    container is made from.
    """

    kind: SandboxKind = "none"
    limits: bool = False
    image: EngineImage | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """What an engine computes on: cards, by their UUIDs, or without any the processor.

    `layers` of the model's `of` are on cards (0 of 0: not known); `slowdown` is how many times
    longer a token takes for it, estimated.
    """

    cards: tuple[str, ...] = ()
    layers: int = 0
    of: int = 0
    slowdown: float = 1.0


def computes_on(device: Device | None, card: str) -> bool:
    """Tell whether an engine uses a card, by its UUID; any of them, where nobody says which."""
    return device is None or card in device.cards


@dataclass(frozen=True, slots=True)
class Offer:
    """A model an engine serves, to the network and (`engine_name`) to the engine itself.

    `slots` requests run at a time, each with `context` tokens (0: not known). An engine that does
    not say which `routes` a model takes is asked, and its own refusal is passed on.
    """

    name: str
    digest: Digest
    engine_name: str
    kind: ModelKind = "chat"
    context: int = 0
    slots: int = 1
    external: bool = False
    routes: frozenset[Route] = frozenset(PATHS)


class Planned(Protocol):
    """How an engine of ours is run with one model, as far as the network is told."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> Digest: ...
    @property
    def kind(self) -> ModelKind: ...
    @property
    def context(self) -> int: ...
    @property
    def slots(self) -> int: ...


def offer_of(options: Planned) -> Offer:
    """Give what an engine that is run so serves."""
    return Offer(
        options.name,
        options.digest,
        options.name,
        kind=options.kind,
        context=options.context,
        slots=options.slots,
        routes=ROUTES[options.kind],
    )


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine says of itself: requests at work and waiting, share of its cache in use."""

    running: int
    waiting: int
    cache_used: float


class Answer(Protocol):
    """An engine's answer while it comes in."""

    status: int
    content_type: str

    @property
    def pace(self) -> Pace | None:
        """The pace of a stream that a plain answer was made of; None for what is passed on."""

    @property
    def at_end(self) -> bool:
        """Whether all of it was read."""

    async def read(self) -> bytes:
        """Give what is there, waiting for the first byte of it; empty at the end.

        Raises: EngineError.
        """

    def close(self) -> None:
        """Let go of it; an answer that is not at its end is stopped. Idempotent."""


class Engine(Protocol):
    """A model server that one agent, and nobody else, talks to."""

    @property
    def kind(self) -> str:
        """What sort of engine it is, for the owner's eyes."""

    @property
    def fence(self) -> Fence:
        """What stands between it and this PC."""

    @property
    def device(self) -> Device | None:
        """What it computes on; None where that is not the agent's to know."""

    @property
    def state(self) -> EngineState:
        """Where it stands now."""

    @property
    def reason(self) -> str:
        """Why it is not ready; empty when it is."""

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The models it serves."""

    @property
    def pids(self) -> frozenset[int] | None:
        """Its first processes now, of which all others come; None where they are not known."""

    @property
    def load(self) -> EngineLoad | None:
        """What it says of its own load; None where it says nothing."""

    @property
    def seconds_left(self) -> float:
        """Its guess how long it still loads; 0 when it has none."""

    @property
    def smaller(self) -> Sentence:
        """Why it serves less than planned, or nothing, for want of memory; empty where it does not.

        The owner's own server plans for itself.
        """

    @property
    def memory(self) -> Peak | None:
        """The most it was measured to hold on this PC; None where nobody measured."""

    async def measure(self) -> None:
        """Note what it holds of memory now."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever `state`, `reason` or `offers` has changed."""

    async def start(self) -> None:
        """Begin its life in the background, also anew after `release`; returns at once."""

    async def release(self) -> None:
        """Give back all memory, of the graphics card too, at once: running answers break.

        Returns when the processes are gone. A server that is not the agent's is left as it is.
        """

    async def stop(self) -> None:
        """End it; running answers break. Idempotent."""

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,
        salt: str = "",
        priority: Priority = "chat",
    ) -> Answer:
        """Put a request (a JSON body) to a model it offers, and wait for the answer's head.

        `salt` keeps what one member's prompts leave in a shared cache from all others. An engine
        that puts its own work in order by `priority` is told it.
        Raises: EngineError.
        """


@runtime_checkable
class Dedicates(Protocol):
    """What can be made anew for one job alone, with nothing in it of whom it served before."""

    @property
    def dedicates(self) -> bool:
        """Whether it can, as it is run here."""

    def make_for(self, job: str) -> None:
        """Have the next one made for this job alone, or, without a name, for everybody."""


__all__ = [
    "PATHS",
    "ROUTES",
    "Answer",
    "Dedicates",
    "Device",
    "Engine",
    "EngineLoad",
    "Fence",
    "Offer",
    "Planned",
    "computes_on",
    "offer_of",
]
