"""What vLLM is started with where the owner says nothing: models over cards of 8 to 32 GB.

Weights are those of a model's form as the planner's own tests hold them to published files; 0.6 GiB
of each card are the desktop's.
"""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.parts.weights import weights_of
from typer.testing import CliRunner

from garage_ai.catalog import KNOWN, QUANTISATIONS, FolderConfig, Unweighed, Weighed, find_card
from garage_ai.catalog.group_memory import EXCHANGE
from garage_ai.catalog.planner import other_bytes
from garage_ai.cli.app import make_app
from garage_ai.cli.group_plan import PlanShown
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.engines.vllm_plan import Model, Wishes, plan
from garage_ai.node.engines.vllm_python import Card, Facts
from garage_ai.node.errors import NoRoom, NotPossible
from garage_ai.node.group import messages as lent
from garage_ai.node.group.by_cards import by_cards, cards_of
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Measured, Member, Wished
from garage_ai.node.group.planning import Division
from garage_ai.wire.ids import Digest, NodeId

GIB = 1 << 30
METHODS = {"bf16": "", "fp8": "fp8", "int4": "awq", "int4-experts": "awq", "mxfp4": "mxfp4"}


def cards(*names: str) -> tuple[Card, ...]:
    found = []
    for number, name in enumerate(names):
        known = find_card(name)
        assert known is not None
        free = int((known.memory - 0.6) * GIB)
        uuid = f"GPU-{number}"
        found.append(Card(known.name, known.compute, free, known.memory * GIB, uuid))
    return tuple(found)


def model(name: str, form: str) -> Model:
    shape, published = KNOWN[name].shape, QUANTISATIONS[form]
    return Model(
        folder=Path("/m"),
        files=(),
        name=name,
        digest=Digest("sha256:" + "0" * 64),
        kind="chat",
        context=shape.context,
        config=FolderConfig(
            "A", "a", shape.heads, shape.context, "bfloat16", METHODS[form], published.block
        ),
        shape=shape,
        weights=weights_of(shape, published),
    )


def on(of: Model, here: tuple[Card, ...], **wishes: object) -> VllmOptions:
    return plan(None, Facts("0.32.0", "cuda", here), of, Wishes(**wishes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "form", "here", "planned"),
    [
        ("Qwen2.5-7B-Instruct", "int4", ["RTX 3070"], (1, 4096, 2)),
        ("Mistral-7B-Instruct-v0.3", "int4", ["RTX 2080 Ti"], (1, 4096, 8)),
        ("Llama-3.1-8B-Instruct", "int4", ["RTX 3060"], (1, 4096, 8)),
        ("Llama-3.1-8B-Instruct", "bf16", ["RTX 3090"], (1, 4096, 8)),
        ("gpt-oss-20b", "mxfp4", ["RTX 4080"], (1, 4096, 8)),
        ("gpt-oss-20b", "mxfp4", ["RTX 5090"], (1, 32_768, 16)),
        ("Qwen3-14B", "fp8", ["RTX 3090"], (1, 4096, 8)),
        ("Qwen2.5-32B-Instruct", "int4", ["RTX 3090"], (1, 4096, 2)),
        ("Qwen3-30B-A3B", "int4", ["RTX 3090"], (1, 4096, 8)),
        ("Qwen3-32B", "fp8", ["RTX 3090"] * 2, (2, 4096, 8)),
        ("Qwen3-30B-A3B", "bf16", ["RTX 3090"] * 4, (4, 16_384, 16)),
        # Two of three cards divide its heads.
        ("Qwen3-Next-80B-A3B-Instruct", "int4", ["RTX 3090"] * 3, (2, 4096, 16)),
        ("Qwen3-Next-80B-A3B-Instruct", "int4", ["RTX 4080"] * 4, (4, 16_384, 16)),
        ("Qwen3-Next-80B-A3B-Instruct", "fp8", ["RTX 3090"] * 4, (4, 8192, 16)),
        ("Qwen3-Next-80B-A3B-Instruct", "fp8", ["RTX 5090"] * 4, (4, 32_768, 16)),
    ],
)
def test_what_fits_is_planned(
    name: str, form: str, here: list[str], planned: tuple[int, int, int]
) -> None:
    """Cards, context and sequences, for each of a volunteer's usual PCs."""
    options = on(model(name, form), cards(*here))
    assert (options.tensor_parallel, options.context, options.slots) == planned
    assert len(options.gpus) == options.tensor_parallel
    assert options.memory_share is not None
    assert 0.8 < options.memory_share <= 0.92


@pytest.mark.parametrize(
    ("name", "form", "here", "words"),
    [
        ("Llama-3.1-8B-Instruct", "bf16", ["RTX 3060"], r"bfloat16 needs 1\d\.\d GiB"),
        ("Qwen2.5-14B-Instruct", "int4", ["RTX 3070"], r"awq needs 1[01]\.\d GiB"),
        ("Qwen3-32B", "fp8", ["RTX 5090"], r"fp8 needs 34\.\d GiB .* are 29\.4 on 1 x RTX 5090"),
        ("Qwen3-Next-80B-A3B-Instruct", "int4", ["RTX 5090"], r"needs 4\d\.\d GiB"),
        ("Qwen3-Next-80B-A3B-Instruct", "fp8", ["RTX 4080"] * 4, r"needs 7\d\.\d GiB"),
        ("Qwen3-Next-80B-A3B-Instruct", "bf16", ["RTX 5090"] * 4, r"151\.8 .* 4 x RTX 5090"),
        ("gpt-oss-20b", "mxfp4", ["RTX 2080 Ti"], r"capability 8\.0"),
    ],
)
def test_what_does_not_fit_is_refused_in_numbers(
    name: str, form: str, here: list[str], words: str
) -> None:
    """Before anything is loaded, with what is needed, what there is, and where to look next."""
    with pytest.raises(NotPossible, match=words) as refused:
        on(model(name, form), cards(*here))
    assert "gai models --fits" in str(refused.value) or "another quantisation" in str(refused.value)


def test_a_card_that_others_hold_is_waited_for_and_one_too_small_is_not() -> None:
    """Unless it is the owner's own share that leaves no room."""
    of = model("Llama-3.1-8B-Instruct", "bf16")
    (card,) = cards("RTX 3090")
    for free in (card.total // 4, 0):
        with pytest.raises(NoRoom) as held:
            on(of, (msgspec.structs.replace(card, free=free),))
        assert held.value.reason.startswith("waiting for memory: ")
    with pytest.raises(NoRoom) as small:
        on(of, cards("RTX 3060"))
    assert small.value.reason == ""
    with pytest.raises(NoRoom) as owners:
        on(of, (card,), memory_share=0.3)
    assert owners.value.reason == ""


def test_what_the_owner_says_wins() -> None:
    """His context is kept and costs sequences, his sequences are kept and may have to wait."""
    llama, here = model("Llama-3.1-8B-Instruct", "bf16"), cards("RTX 3090")
    assert (on(llama, here, context=16_384).context, on(llama, here, context=16_384).slots) == (
        16_384,
        2,
    )
    assert on(llama, here, slots=32).slots == 32
    assert on(llama, here, memory_share=0.95).memory_share == 0.95
    with pytest.raises(NotPossible, match="with 131072 tokens of context"):
        on(llama, here, context=131_072)
    assert on(llama, cards("RTX 3090", "RTX 3090"), tensor_parallel=1).tensor_parallel == 1
    with pytest.raises(NotPossible, match=r"needs .* on 1 x"):
        on(model("Qwen3-32B", "fp8"), cards("RTX 3090", "RTX 3090"), tensor_parallel=1)


def test_the_best_kind_of_card_is_taken_by_its_uuid() -> None:
    """A small card in the first slot does not keep two large ones idle."""
    here = cards("RTX 3060", "RTX 3090", "RTX 3090")
    options = on(model("Qwen3-32B", "fp8"), here)
    assert (options.tensor_parallel, set(options.gpus)) == (2, {"GPU-1", "GPU-2"})
    nameless = tuple(Card(c.name, c.capability, c.free, c.total) for c in here)
    assert on(model("Llama-3.1-8B-Instruct", "int4"), nameless).tensor_parallel == 1


def test_eight_bits_are_cut_along_their_blocks() -> None:
    """768 wide experts in blocks of 128 go on two cards, not on four; a group makes two sets."""
    experts, four = model("Qwen3-30B-A3B", "fp8"), cards(*["RTX 3090"] * 4)
    assert on(experts, four).tensor_parallel == 2
    with pytest.raises(NotPossible, match="no whole blocks of 128, which fp8 needs"):
        on(experts, four, tensor_parallel=4)
    found = on(experts, four, grouped=True).lent
    assert found
    assert len(found.cards) == 4


def rigs_of(of: Model, *rooms: tuple[int, ...]) -> tuple[Member, ...]:
    """Make rigs of so many MiB on each card, all linked to each other, which lend for a model."""
    names = [f"rig-{n}" for n in range(len(rooms))]
    return tuple(
        Member(
            NodeId(name),
            of.digest,
            willing=True,
            cards=tuple(lent.Card("RTX 3080", each << 20, (8, 6)) for each in held),
            links=tuple(Measured(NodeId(other), 0.3, 1.0) for other in names if other != name),
            wish=Wished(context=4096, slots=1),
        )
        for name, held in zip(names, rooms, strict=True)
    )


def divided(of: Model, *rooms: tuple[int, ...]) -> Division | Refusal:
    found = on(of, cards("RTX 3090"), grouped=True).lent
    assert found
    return by_cards(found.model)(rigs_of(of, *rooms))


def test_a_group_of_real_files_cuts_along_their_blocks() -> None:
    """Where vLLM refuses a set of four, two sets of two follow each other."""
    found = divided(model("Qwen3-30B-A3B", "fp8"), (11 * 1024,) * 4)
    assert isinstance(found, Division)
    assert (found.tensor, found.pipeline) == (2, 2)


@pytest.mark.parametrize(("rigs", "mebi"), [(3, 7885), (6, 4710)])
def test_a_table_of_sixteen_bits_is_planned_where_it_lies(rigs: int, mebi: int) -> None:
    """The ends of a pipeline take as much as they truly do of a model of four bits."""
    found = divided(model("Qwen3-32B", "int4"), *[(mebi,)] * rigs)
    if isinstance(found, Refusal):
        assert "GiB short each" in found.reason
        return
    shape, truly = KNOWN["Qwen3-32B"].shape, QUANTISATIONS["int4"]
    for at in (0, -1):
        part = replace(shape, layers=found.layers[at])
        taken = truly.weights(part, 1) + part.cache_bytes(4096) + other_bytes(shape, truly, 1, 1)
        assert taken + EXCHANGE <= mebi << 20


def test_key_heads_that_do_not_divide_are_not_cut() -> None:
    """40 heads go into five parts, their 8 keys do not."""
    five = cards(*["RTX 3090"] * 5)
    assert on(model("Qwen3-14B", "bf16"), five).tensor_parallel == 4
    with pytest.raises(NotPossible, match="does not divide"):
        on(model("Qwen3-14B", "bf16"), five, tensor_parallel=5)


def test_a_shape_nobody_knows_is_left_to_vllm() -> None:
    """Without a sum of ours the model's own context is asked for; vLLM says if it is too much."""
    unknown = replace(model("Llama-3.1-8B-Instruct", "bf16"), shape=None)
    options = on(unknown, cards("RTX 3070"))
    assert (options.context, options.slots) == (131_072, 16)


def test_a_pc_of_a_group_says_what_it_lends_and_leaves_the_size_to_the_group() -> None:
    """A model too large for its equal cards is no reason to refuse it here."""
    large = model("Qwen3-Next-80B-A3B-Instruct", "fp8")
    found = on(large, cards("RTX 3090", "RTX 3090"), grouped=True)
    assert found.lent
    assert [card.name for card in found.lent.cards] == ["RTX 3090", "RTX 3090"]
    assert all(20 * GIB < card.room < 24 * GIB for card in found.lent.cards)
    assert isinstance(found.lent.model, Weighed)
    shape, form = found.lent.model
    assert shape == large.shape
    assert form.weights(shape) == pytest.approx(sum(large.weights), rel=0.001)
    assert found.context == large.context
    assert on(model("Qwen3-32B", "int4"), cards("RTX 3090")).lent is None
    unknown = on(replace(large, shape=None), cards("RTX 3090", "RTX 3090"), grouped=True)
    assert unknown.lent
    assert (len(unknown.lent.cards), unknown.lent.model) == (2, Unweighed(large.config.heads))


@pytest.mark.parametrize(
    ("pcs", "pipeline"),
    [
        (["RTX 3090,RTX 3090,RTX 3090"], 3),
        (["RTX 3060,RTX 3090,RTX 3090,RTX 3090"], 3),
        (["RTX 3090,RTX 3060,RTX 3060,RTX 3060,RTX 3060,RTX 3060,RTX 3060"], 3),
        (["RTX 3090,RTX 3090,RTX 3060", "RTX 3060,RTX 3060"], 2),
        (["RTX 3090,RTX 3090,RTX 3060"], 0),
    ],
)
def test_what_the_command_plans_is_what_the_agents_would_lend(
    pcs: list[str], pipeline: int
) -> None:
    """All cards of one kind of each PC, however many of them share a layer."""
    of = model("Qwen3-Next-80B-A3B-Instruct", "int4-experts")
    names = [f"rig-{number}" for number in range(1, len(pcs) + 1)]
    rigs, weighed = [], None
    for name, pc in zip(names, pcs, strict=True):
        found = on(of, cards(*pc.split(",")), grouped=True).lent
        assert found
        links = tuple(Measured(NodeId(other), 0.3, 1.0) for other in names if other != name)
        rigs.append(Member(NodeId(name), of.digest, cards=cards_of(found), links=links))
        weighed = found.model
    assert weighed
    divided = by_cards(weighed)(tuple(rigs))
    words = ["--form", "int4-experts", "--gbit", "1", "--rtt-ms", "0.3", "--json"]
    words += [word for pc in pcs for word in ("--rig", pc)]
    typed = CliRunner().invoke(make_app(), ["group", "plan", of.name, *words])
    shown = msgspec.json.decode(typed.stdout, type=PlanShown).plan
    if not pipeline:
        assert shown is None
        assert isinstance(divided, Refusal)
        return
    assert shown
    assert isinstance(divided, Division)
    assert divided.pipeline == pipeline
    assert (shown.rigs, shown.tensor, shown.pipeline) == (divided.rigs, divided.tensor, pipeline)


def test_a_card_that_is_nearly_full_keeps_the_others_from_nothing() -> None:
    """Of all that a PC lends no more is taken than the fullest has left: it stays out."""
    three = cards(*["RTX 3090"] * 3)
    busy = (*three[:2], msgspec.structs.replace(three[2], free=3 * GIB))
    found = on(model("Qwen3-Next-80B-A3B-Instruct", "int4"), busy, grouped=True)
    assert found.gpus == ("GPU-0", "GPU-1")
    assert found.memory_share == 0.92
