"""A group of rigs on one LAN, and how one model would run over all of its cards together. Pure.

Rigs and what they measured between them go in (`Rig`, `Link`); a plan comes out, one `Rank` for
each process of the engine, or the obstacles that stood in the way, each with its own numbers.

    Obstacle
    ├── NoCard            no_card            the group has no card
    ├── NoForm            no_form            the model comes in no form that spans cards
    ├── CardTooOld        card_too_old       a card that no form runs on
    ├── UnequalCards      unequal_cards      one tensor-parallel set of different cards
    ├── HeadsIndivisible  heads_indivisible  attention cannot be cut into so many parts
    ├── ExpertsTooNarrow  experts_too_narrow feed-forward parts smaller than what shares a scale
    ├── TooManyStages     too_many_stages    more stages than layers
    ├── ProcessorsInARow  processors_in_a_row a pipeline of processors, which the engine has not
    ├── NoSuchSet         no_such_set        a set as large as somebody wants cannot be had
    ├── LinkUnmeasured    link_unmeasured    two rigs have not measured what is between them
    ├── TripTooLong       trip_too_long      round trip over the limit
    ├── LinkTooNarrow     link_too_narrow    tensor parallel between rigs without the bandwidth
    └── MemoryShort       memory_short       cards are short of so many bytes each
"""

from typing import NamedTuple

import msgspec

from garage_ai.catalog.planner import GIB, Heads, Place


class Rig(NamedTuple):
    """A PC of the group: its name there, and its cards in the order its driver counts them."""

    name: str
    cards: tuple[Place, ...]


class Link(NamedTuple):
    """What two rigs measured between them: Gbit/s of the slower way, round trip in ms."""

    one: str
    other: str
    gbit: float
    rtt_ms: float


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the engine: on which card, and what of the model. Bytes.

    `card` counts from 0 within the rig, `stage` along the pipeline, `part` within the
    tensor-parallel set.
    """

    rig: str
    card: int
    stage: int
    part: int
    layers: int
    weights: int
    cache: int
    other: int
    room: int

    @property
    def needed(self) -> int:
        """Bytes it takes of its card."""
        return self.weights + self.cache + self.other


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per second, estimated: of one stream, and of all sequences at once together.

    Milliseconds are of one token of a single stream: reading memory, starting kernels, and waiting
    for other cards and rigs.
    """

    alone: float
    together: float
    reading_ms: float
    starting_ms: float
    exchange_ms: float


class GroupFit(msgspec.Struct, frozen=True, kw_only=True):
    """How the group would run the model. `form` is a name in QUANTISATIONS.

    `rigs` are those that take part, in the order of their node ranks; each gives as many cards as
    the others. `ranks` are in the engine's own order: rig by rig, stage by stage. `layers` are of
    each stage. `pace` is None where a card's bandwidth is not known. `obstacles` say what kept
    other ways of dividing the work, in the same form, from being taken.
    """

    form: str
    tensor: int
    pipeline: int
    layers: tuple[int, ...]
    context: int
    sequences: int
    rigs: tuple[str, ...]
    ranks: tuple[Rank, ...]
    pace: Pace | None
    obstacles: tuple["Obstacle", ...] = ()


class GroupRefusal(msgspec.Struct, frozen=True):
    """Why no way of dividing the work was found; what came nearest stands first."""

    obstacles: tuple["Obstacle", ...]


class _Stated(msgspec.Struct, frozen=True, kw_only=True, tag_field="code"):
    """An obstacle; its tag is its stable code."""


class NoCard(_Stated, frozen=True, kw_only=True, tag="no_card"):
    """The group has no card."""


class NoForm(_Stated, frozen=True, kw_only=True, tag="no_form"):
    """The model comes in no form that the engine of groups runs."""


class CardTooOld(_Stated, frozen=True, kw_only=True, tag="card_too_old"):
    """A card is older than the form needs; generations as CUDA's compute capability."""

    rig: str
    card: str
    compute: tuple[int, int]
    form: str
    wanted: tuple[int, int]


class UnequalCards(_Stated, frozen=True, kw_only=True, tag="unequal_cards"):
    """A tensor-parallel set would have different cards; names and bytes of room, card by card."""

    rigs: tuple[str, ...]
    cards: tuple[str, ...]
    rooms: tuple[int, ...]


class HeadsIndivisible(_Stated, frozen=True, kw_only=True, tag="heads_indivisible"):
    """Attention cannot be cut into so many parts; `what` are the heads that keep it from that."""

    tensor: int
    what: Heads
    heads: int


class ExpertsTooNarrow(_Stated, frozen=True, kw_only=True, tag="experts_too_narrow"):
    """A part of a feed-forward width is no multiple of `block`, which the form's kernels need."""

    form: str
    tensor: int
    width: int
    block: int


class TooManyStages(_Stated, frozen=True, kw_only=True, tag="too_many_stages"):
    """There are fewer layers than stages."""

    pipeline: int
    layers: int


class LinkUnmeasured(_Stated, frozen=True, kw_only=True, tag="link_unmeasured"):
    """Two rigs have not measured what is between them."""

    one: str
    other: str


class TripTooLong(_Stated, frozen=True, kw_only=True, tag="trip_too_long"):
    """The round trip between two rigs is over the limit."""

    one: str
    other: str
    rtt_ms: float
    limit_ms: float


class LinkTooNarrow(_Stated, frozen=True, kw_only=True, tag="link_too_narrow"):
    """Tensor parallel between rigs needs more bandwidth than there is."""

    one: str
    other: str
    gbit: float
    limit_gbit: float


class NoSuchSet(_Stated, frozen=True, kw_only=True, tag="no_such_set"):
    """Neither one rig nor equally many cards of each give a set as large as somebody wants."""

    tensor: int
    cards: int
    rigs: int


class ProcessorsInARow(_Stated, frozen=True, kw_only=True, tag="processors_in_a_row"):
    """The engine's build for processors has no pipeline."""

    pipeline: int


class MemoryShort(_Stated, frozen=True, kw_only=True, tag="memory_short"):
    """The least that can be asked for does not fit. Bytes.

    `needed` and `room` are of the card that is short of most, with layers dealt out as well as can
    be: with `short` more on every card it fits, and with less it does not. `weights` are the
    model's, over all cards; `cards` and `rigs` count those that take part.
    """

    form: str
    rigs: int
    cards: int
    tensor: int
    pipeline: int
    weights: int
    needed: int
    room: int
    short: int

    @property
    def short_in_gib(self) -> str:
        """Say it with one decimal, rounded up: what is short by a little is not by nothing."""
        return f"{-(-self.short * 10 // GIB) / 10:.1f}"


Obstacle = (
    NoCard
    | NoForm
    | CardTooOld
    | UnequalCards
    | HeadsIndivisible
    | ExpertsTooNarrow
    | TooManyStages
    | ProcessorsInARow
    | NoSuchSet
    | LinkUnmeasured
    | TripTooLong
    | LinkTooNarrow
    | MemoryShort
)


__all__ = [
    "CardTooOld",
    "ExpertsTooNarrow",
    "GroupFit",
    "GroupRefusal",
    "HeadsIndivisible",
    "Link",
    "LinkTooNarrow",
    "LinkUnmeasured",
    "MemoryShort",
    "NoCard",
    "NoForm",
    "NoSuchSet",
    "Obstacle",
    "Pace",
    "ProcessorsInARow",
    "Rank",
    "Rig",
    "TooManyStages",
    "TripTooLong",
    "UnequalCards",
]
