"""The reference plan: one large model on groups of gaming PCs, from its published config."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from docs.generate.markdown import code, page, table

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    RESERVE,
    GroupFit,
    GroupRefusal,
    Link,
    Place,
    Quantisation,
    Rig,
    Shape,
    Wish,
    find_card,
    plan_group,
)
from garage_ai.catalog.group_layouts import TENSOR_GBIT, TRIP_LIMIT_MS
from garage_ai.catalog.group_memory import EXCHANGE, SPARE
from garage_ai.catalog.group_pace import ALL_REDUCE, EXPERT_LAYER, NETWORK
from garage_ai.catalog.groups import MemoryShort
from garage_ai.catalog.planner import EFFICIENCY, GIB, GRAPHS, RUNTIME
from garage_ai.cli.group_plan import in_words

_MODEL: Final = KNOWN["Qwen3-Next-80B-A3B-Instruct"]
_FORMS: Final = tuple(form for name, form in QUANTISATIONS.items() if name in _MODEL.quantisations)
_FOUR_BITS: Final = "int4-experts"
_LAN: Final = (1.0, 0.3)


class _Group(NamedTuple):
    """A group of the page: its rigs by card and number, and what is between them."""

    title: str
    swedish: str
    card: str
    rigs: tuple[int, ...]
    link: tuple[float, float] | None = None

    @property
    def command(self) -> str:
        """What to type to see the same."""
        words = [f'--rig "{",".join([self.card] * count)}"' for count in self.rigs]
        if self.link:
            words.append(f"--gbit {self.link[0]:g} --rtt-ms {self.link[1]:g}")
        return f"gai group plan Qwen3-Next {' '.join(words)}"


_GROUPS: Final = (
    _Group("4 x 16 GB in one PC", "4 x 16 GB i en dator", "RTX 4060 Ti 16GB", (4,)),
    _Group("4 x 16 GB in one PC, faster", "4 x 16 GB i en dator, snabbare", "RTX 5070 Ti", (4,)),
    _Group(
        "2 x 16 GB in each of two PCs",
        "2 x 16 GB i var och en av två datorer",
        "RTX 4060 Ti 16GB",
        (2, 2),
        _LAN,
    ),
    _Group(
        "the same, faster cards and 10 Gbit/s",
        "samma, snabbare kort och 10 Gbit/s",
        "RTX 5070 Ti",
        (2, 2),
        (10.0, 0.1),
    ),
    _Group("4 x 24 GB in one PC", "4 x 24 GB i en dator", "RTX 3090", (4,)),
    _Group("2 x 24 GB in one PC", "2 x 24 GB i en dator", "RTX 3090", (2,)),
    _Group("4 x 8 GB in one PC", "4 x 8 GB i en dator", "RTX 4060", (4,)),
)

_PUBLISHED: Final = {
    "bf16": ("160 GB", "model card of btbtyler09/Qwen3-Coder-Next-GPTQ-4bit"),
    "fp8": ("", ""),
    _FOUR_BITS: ("47 GB", "model card of btbtyler09/Qwen3-Coder-Next-GPTQ-4bit"),
    "Q8_0": ("", ""),
    "Q4_K_M": (
        "45.08 GiB",
        "log in lmstudio-ai/lmstudio-bug-tracker, issue 1266; llama.cpp, pull request 16095",
    ),
}

_INTRO = f"""
**På svenska: [sammanfattning](#sammanfattning-på-svenska).**

`Qwen3-Next-80B-A3B-Instruct` is the model that a garage of gaming PCs should be able to run
together: 80 billion parameters, of which a token uses three, so that it needs much memory and
little speed. This page works through what it takes on four cards, by the planner that `gai group
plan` asks (`src/garage_ai/catalog/group_planner.py`). Everything here is **computed from
published figures; none of it was measured on such a group**. Each card is taken to have {
    RESERVE / GIB:g} GiB less than is printed on it, for the desktop and the driver.
"""

_RULES = f"""
What vLLM 0.32 asks of a division, and how this model meets it:

- **Tensor parallel** cuts every layer into equal parts. The {{heads}} query heads and the
  {{linear}} key heads of the linear layers must divide: 2, 4, 8 or 16 cards. There are only
  {{keys}} key heads in the whole-attention layers; on four cards each has one of them, so that
  their cache is held **twice**, and the states of the linear layers once.
- **Experts** are {{width}} wide. Blocks that share a scale must stay whole: of {{block_fp8}} in
  `fp8`, so four cards at most; of {{block_int4}} for the four-bit kernel (Marlin), so eight.
- Routers are whole on every card. A card with neighbours holds {EXCHANGE // (1 << 20)} MiB more
  for NCCL.
- **Pipeline**: whole layers, any number of stages; a run of layers has every fourth with whole
  attention. The table of tokens is in the first stage, the head in the last.
- **Several PCs**: each gives as many cards as the others (`--nnodes`). Between any two of them a
  round trip of at most {TRIP_LIMIT_MS:g} ms; a tensor-parallel set over several PCs from
  {TENSOR_GBIT:g} Gbit/s as measured, which a cable of 10 Gbit/s delivers.
- **Multi-token prediction** is not planned with. Its layer is not loaded unless asked for;
  published four-bit files come without it, and over a pipeline vLLM does not start with it (vLLM
  issues 49355, 52069).

Sources: vLLM's `qwen3_next.py`, `parallel.py`, `multiproc_executor.py`, `marlin_utils.py`.
"""

_PACE = f"""
A token of one answer is reckoned as the sum of three parts, and each has its source beside it in
`src/garage_ai/catalog/group_pace.py`:

- **reading** what it needs of weights and cache, stage after stage, at {EFFICIENCY:.0%} of the
  card's published bandwidth, as published runs reach;
- **starting kernels**, {EXPERT_LAYER * 1e6:.0f} microseconds for each layer of experts, which no
  division makes fewer;
- **waiting for each other**: two all-reduces a layer within a set, {ALL_REDUCE * 1e6:.0f}
  microseconds each in one PC; over a network the round trips, and {NETWORK * 1e6:.0f}
  microseconds more; between stages half a round trip.

With all sequences at once every stage of a pipeline works on others of them, and several tokens
share what is read of the weights. Beside published runs of this model and of its like:
"""


def made() -> str:
    """Write the page."""
    return page(
        "Qwen3-Next-80B on four cards: the reference plan",
        "src/garage_ai/catalog/",
        _INTRO,
        "## The answer",
        table(
            ["group", "runs", "form", "division", "context", "GiB of a card", "tokens/s"],
            _answers(),
        ),
        "Tokens per second: of one answer, and of all at once together. Context: tokens, and "
        "how many requests at a time. GiB: what the fullest card holds, and has.",
        "## The model",
        table(["of config.json", "value"], _config(_MODEL.shape)),
        f"From {_MODEL.source}.",
        "## Its weights",
        table(["form", "computed, GiB", "read for a token, GB", "published", "source"], _weights()),
        _remark(),
        "## What the engine allows",
        _rules(_MODEL.shape),
        "## Group by group",
        *_details(),
        "## How fast, and how sure",
        _PACE,
        table(["published run", "tokens/s", "the same by this reckoning"], _runs()),
        _doubts(),
        "## Sammanfattning på svenska",
        _swedish(),
    )


@cache
def _planned(group: _Group, forms: Sequence[Quantisation] = _FORMS) -> GroupFit | GroupRefusal:
    rigs = [_rig(number, group.card, count) for number, count in enumerate(group.rigs, start=1)]
    links = [Link("rig-1", "rig-2", *group.link)] if group.link else []
    return plan_group(_MODEL.shape, forms, rigs, links)


def _rig(number: int, name: str, count: int) -> Rig:
    card = find_card(name)
    if card is None:
        raise LookupError(name)
    place = Place(card.name, card.memory * GIB - RESERVE, card.bandwidth, card.compute)
    return Rig(f"rig-{number}", (place,) * count)


def _answers() -> Iterator[list[str]]:
    for group in _GROUPS:
        found = _planned(group)
        name = f"{group.title} ({group.card})"
        if isinstance(found, GroupFit):
            yield [name, "yes", code(found.form), _division(found), *_figures(found)]
        else:
            short = _shortage(found)
            lack = f"{short.needed / GIB:.1f} of {short.room / GIB:.1f}"
            yield [name, "**no**", code(short.form), "", "", lack, ""]


def _division(found: GroupFit) -> str:
    return f"tensor {found.tensor}, pipeline {found.pipeline}"


def _figures(found: GroupFit) -> list[str]:
    fullest = max(found.ranks, key=lambda rank: rank.needed - rank.room)
    pace = f"{found.pace.alone:.0f}, {found.pace.together:.0f}" if found.pace else ""
    return [
        f"{found.context} x {found.sequences}",
        f"{fullest.needed / GIB:.1f} of {fullest.room / GIB:.1f}",
        pace,
    ]


def _shortage(found: GroupRefusal) -> MemoryShort:
    return next(each for each in found.obstacles if isinstance(each, MemoryShort))


def _config(shape: Shape) -> Iterator[list[str]]:
    linear = shape.linear
    if linear is None:
        raise LookupError(shape.name)
    whole = shape.layers - linear.layers
    yield [code("num_hidden_layers"), f"{shape.layers}: {linear.layers} linear, {whole} whole"]
    yield [code("hidden_size"), str(shape.hidden)]
    yield [code("num_attention_heads"), str(shape.heads)]
    yield [code("num_key_value_heads"), str(shape.kv_heads)]
    yield [code("head_dim"), str(shape.head_dim)]
    yield [code("linear_num_key_heads"), str(linear.key_heads)]
    yield [code("linear_num_value_heads"), str(linear.value_heads)]
    yield [code("num_experts"), f"{shape.experts}, of which {shape.experts_used} for a token"]
    yield [code("moe_intermediate_size"), str(shape.expert_intermediate)]
    yield [code("shared_expert_intermediate_size"), str(shape.shared)]
    yield [code("vocab_size"), str(shape.vocabulary)]
    yield [code("max_position_embeddings"), str(shape.context)]
    yield ["parameters, computed", f"{shape.parameters / 1e9:.1f} billion"]
    yield ["cache of a token, 16 bits", f"{_growth(shape) / 1024:.0f} KiB"]
    yield ["state of a sequence", f"{shape.cache_bytes(0) / (1 << 20):.0f} MiB"]


def _growth(shape: Shape) -> int:
    return shape.cache_bytes(1) - shape.cache_bytes(0)


def _weights() -> Iterator[list[str]]:
    for form in _FORMS:
        size = f"{form.weights(_MODEL.shape) / GIB:.1f}"
        read = f"{form.read_for_a_token(_MODEL.shape) / 1e9:.1f}"
        yield [code(form.name), size, read, *_PUBLISHED[form.name]]


def _remark() -> str:
    """Say what other four-bit files would be, which no plan here rests on."""
    larger = Quantisation("groups of 128", "vllm", 16, 16, 4 + 16 / 128, 16, (8, 0), "", 128)
    two = _Group("", "", "RTX 3090", (2,))
    found = _planned(two, (larger,))
    if not isinstance(found, GroupFit):
        raise LookupError(found)
    size = larger.weights(_MODEL.shape) / GIB
    ours, llama = QUANTISATIONS[_FOUR_BITS], QUANTISATIONS["Q4_K_M"]
    return (
        f"The four-bit weights that plans and refusals here speak of are `{_FOUR_BITS}`, "
        f"{ours.weights(_MODEL.shape) / GIB:.1f} GiB with {ours.experts:g} bits a weight in the "
        f"experts and {ours.outer:g} elsewhere; the {_PUBLISHED[llama.name][0]} (45.1) that others "
        f"name is the file of `{llama.name}`, with about {llama.experts:.1f} bits everywhere, and "
        f"{llama.weights(_MODEL.shape) / GIB:.1f} by the sum above since those bits were counted "
        f"on another model ({llama.source}).\n\n"
        f"`{_FOUR_BITS}` has the experts in four bits, in groups of 32, and all else in 16; it "
        "is how the four-bit files of this model for vLLM are made (btbtyler09's GPTQ, cyankiwi's "
        "AWQ). `Q8_0` and `Q4_K_M` are for llama.cpp, which runs on one PC. Files with groups of "
        "128 exist too (AutoRound). By the same sum they would be "
        f"{size:.1f} GiB, and two cards of 24 GB would hold them, with {found.context} tokens "
        f"for {found.sequences} at once and {found.ranks[0].needed / GIB:.1f} of "
        f"{found.ranks[0].room / GIB:.1f} GiB. No plan here rests on them, since none was weighed "
        "for this table."
    )


def _rules(shape: Shape) -> str:
    return _RULES.format(
        heads=shape.heads,
        keys=shape.kv_heads,
        linear=shape.linear.key_heads if shape.linear else 0,
        width=shape.expert_intermediate,
        block_fp8=QUANTISATIONS["fp8"].block,
        block_int4=QUANTISATIONS[_FOUR_BITS].block,
    )


def _details() -> Iterator[str]:
    for group in _GROUPS:
        found = _planned(group)
        yield f"### {group.title[0].upper()}{group.title[1:]}"
        yield f"```sh\n{group.command}\n```"
        if isinstance(found, GroupFit):
            yield from _fit(found)
        if found.obstacles:
            yield "\n".join(f"- {in_words(each)}" for each in found.obstacles)


def _fit(found: GroupFit) -> Iterator[str]:
    rows = [
        [
            rank.rig,
            str(rank.card),
            f"{rank.stage}, {rank.part}",
            str(rank.layers),
            *(f"{size / GIB:.2f}" for size in (rank.weights, rank.cache, rank.other, rank.needed)),
            f"{rank.room / GIB:.1f}",
        ]
        for rank in found.ranks
    ]
    heads = ["rig", "card", "stage, part", "layers", "weights", "cache", "other", "GiB", "of"]
    yield table(heads, rows)
    if found.pace:
        yield (
            f"About {found.pace.alone:.0f} tokens/s for one answer: {found.pace.reading_ms:.1f} "
            f"ms of a token are reading, {found.pace.starting_ms:.1f} starting kernels, "
            f"{found.pace.exchange_ms:.1f} waiting for other cards. {found.pace.together:.0f} "
            f"tokens/s for {found.sequences} answers together."
        )


def _runs() -> Iterator[list[str]]:
    spark = Rig("a", (Place("GB10", 110 * GIB, 273.0),))
    forms = [QUANTISATIONS[_FOUR_BITS]]
    found = plan_group(_MODEL.shape, forms, [spark], [], Wish(4096, 1))
    yield [
        f"this model, `{_FOUR_BITS}`, one DGX Spark of 273 GB/s (Avarok-Cybersecurity/dgx-vllm)",
        "34.9",
        _alone(found),
    ]
    known = KNOWN["Qwen3-30B-A3B"]
    for name, published, source in (
        ("RTX 3090 Ti", "166.9", "smeltcore.com"),
        ("RTX 4090", "196", "runaihome.com"),
    ):
        # One card alone: llama.cpp's form, which groups have not, read as any other.
        form = QUANTISATIONS["Q4_K_M"]._replace(engine="vllm")
        alone = plan_group(known.shape, [form], [_rig(1, name, 1)], [], Wish(4096, 1))
        yield [
            f"Qwen3-30B-A3B, `Q4_K_M`, one {name}, llama.cpp ({source})",
            published,
            _alone(alone),
        ]


def _alone(found: GroupFit | GroupRefusal) -> str:
    if not isinstance(found, GroupFit) or not found.pace:
        raise LookupError(found)
    return f"{found.pace.alone:.0f}"


def _doubts() -> str:
    return (
        "Take speeds as right to a third where kernels are made for the card, and as a promise "
        "to nobody where they are not: four MI50 with a vLLM of their own made 26 tokens/s of "
        "this model in eight bits (nlzy/vllm-gfx906, pull request 43). Memory may be off by a "
        "GiB: more context, or more requests at a time, than the least that is asked for is "
        f"planned only where {SPARE // (1 << 20)} MiB of every card stay free, and what leaves "
        "less than a GiB may yet have to do with less context. What over a network is one "
        f"all-reduce costs much more than its round trip: the {NETWORK * 1e6:.0f} microseconds "
        "are from one published pair of PCs alone, so a pipeline is the surer way over a LAN. "
        f"Reserves on each card: {RUNTIME // (1 << 20)} MiB for CUDA, {GRAPHS // (1 << 20)} "
        "MiB for vLLM's graphs, and what a batch of a prompt takes on its way."
    )


def _swedish() -> str:
    lines = []
    for group in _GROUPS:
        found = _planned(group)
        if isinstance(found, GroupFit):
            speed = f", ungefär {found.pace.alone:.0f} token/s för ett svar" if found.pace else ""
            lines.append(
                f"- **{group.swedish}** ({group.card}): går som `{found.form}`, tensorparallell "
                f"{found.tensor}, pipeline {found.pipeline}, {found.context} token kontext för "
                f"{found.sequences} samtidigt{speed}."
            )
        else:
            short = _shortage(found)
            lines.append(
                f"- **{group.swedish}** ({group.card}): går inte. Bara vikterna i fyra bitar är "
                f"{short.weights / GIB:.1f} GiB; det fullaste kortet behöver "
                f"{short.needed / GIB:.1f} GiB och har {short.room / GIB:.1f}, så "
                f"{short.short / GIB:.1f} GiB fattas på varje kort."
            )
    intro = (
        "Sidan räknar igenom vad Qwen3-Next-80B-A3B-Instruct kräver av fyra kort, med samma "
        "planerare som `gai group plan`. Allt är beräknat ur publicerade uppgifter; inget är "
        "mätt på en sådan grupp."
    )
    outro = (
        "Inom en dator delas varje lager på alla kort. Mellan datorer får varje dator hela "
        "lager, för över ett vanligt lokalt nät går det fortare; att dela lager mellan datorer "
        f"kräver {TENSOR_GBIT:g} Gbit/s uppmätt, som en kabel för 10 Gbit/s ger. "
        "Fram och åter mellan två datorer får ta högst "
        f"{TRIP_LIMIT_MS:g} ms."
    )
    return "\n\n".join([intro, "\n".join(lines), outro])


__all__ = ["made"]
