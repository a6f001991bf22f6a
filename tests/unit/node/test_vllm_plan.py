"""How vLLM is run: cards, model and wishes in, argv and environment out."""

from dataclasses import replace
from pathlib import Path

import pytest

from garage_ai.catalog import FolderConfig
from garage_ai.node.engines.vllm_options import VllmOptions, argv, environment
from garage_ai.node.engines.vllm_plan import LEAST_CAPABILITY, NEVER_HALF, Model, Wishes, plan
from garage_ai.node.engines.vllm_python import Card, Facts
from garage_ai.node.errors import NotPossible
from garage_ai.wire.ids import Digest

GIB = 2**30
PYTHON = Path("/home/me/vllm/bin/python")
CPU = Facts("0.32.0", "cpu")
RTX_3090 = Card("NVIDIA GeForce RTX 3090", (8, 6), 23 * GIB, 24 * GIB)
RTX_2080 = Card("NVIDIA GeForce RTX 2080 Ti", (7, 5), 10 * GIB, 11 * GIB)
GTX_1080 = Card("NVIDIA GeForce GTX 1080", (6, 1), 8 * GIB, 8 * GIB)
QWEN = Model(
    folder=Path("/models/qwen3-8b"),
    files=(),
    name="qwen3-8b",
    digest=Digest("sha256:" + "c" * 64),
    kind="chat",
    context=40_960,
    config=FolderConfig("Qwen3ForCausalLM", "qwen3", 32, 40_960, "bfloat16", ""),
)


def on(*cards: Card, **wishes: object) -> VllmOptions:
    return plan(PYTHON, Facts("0.33.0", "cuda", cards), QWEN, Wishes(**wishes))  # type: ignore[arg-type]


def bare(options: VllmOptions) -> list[str]:
    return argv(options, str(PYTHON), options.folder, options.chat_template, "./engine.sock")


def quantised(method: str) -> Model:
    return replace(QWEN, config=FolderConfig("Q", "q", 32, 4096, "bfloat16", method))


def test_the_command_for_two_cards() -> None:
    """All that was decided stands in argv, in the order of the golden line."""
    options = on(RTX_3090, RTX_3090, context=8192, chat_template=Path("/t.jinja"))
    assert " ".join(bare(options)) == (
        "/home/me/vllm/bin/python -m vllm.entrypoints.openai.api_server"
        " --model /models/qwen3-8b --served-model-name qwen3-8b --uds ./engine.sock"
        " --load-format safetensors --dtype auto --max-model-len 8192 --max-num-seqs 16"
        " --tensor-parallel-size 2 --max-logprobs 20 --scheduling-policy priority"
        " --gpu-memory-utilization 0.92 --chat-template /t.jinja --enable-prefix-caching"
        " --no-enable-log-requests --disable-uvicorn-access-log --disable-fastapi-docs"
    )


def test_the_command_for_a_cpu() -> None:
    """No card is spoken of, and nothing is compiled."""
    options = plan(PYTHON, CPU, QWEN, Wishes(slots=4, context=2048, cache_gib=1, threads=3))
    assert " ".join(bare(options)) == (
        "/home/me/vllm/bin/python -m vllm.entrypoints.openai.api_server"
        " --model /models/qwen3-8b --served-model-name qwen3-8b --uds ./engine.sock"
        " --load-format safetensors --dtype bfloat16 --max-model-len 2048 --max-num-seqs 4"
        " --tensor-parallel-size 1 --max-logprobs 20 --scheduling-policy priority"
        " --enable-prefix-caching --no-enable-log-requests --disable-uvicorn-access-log"
        " --disable-fastapi-docs --enforce-eager"
    )
    own = environment(options, Path("/run/n"), {"PATH": "/bin"})
    assert (own["VLLM_CPU_KVCACHE_SPACE"], own["OMP_NUM_THREADS"]) == ("1", "3")


def test_the_environment_is_quiet() -> None:
    """Off the network, no statistics, nothing of the owner's but what finds programs and cards."""
    around = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "CUDA_VISIBLE_DEVICES": "1",
        "GAI_API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HF_TOKEN": "secret",
        "VLLM_SERVER_DEV_MODE": "1",
        "PYTHONPATH": "/elsewhere",
    }
    assert environment(on(RTX_3090), Path("/run/n"), around) == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "CUDA_VISIBLE_DEVICES": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "GARAGE_AI_RUN": "/run/n",
        "VLLM_MAX_N_SEQUENCES": "128",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    }


@pytest.mark.parametrize(
    ("cards", "heads", "used"),
    [
        ((RTX_3090,), 32, 1),
        ((RTX_3090, RTX_3090), 32, 2),
        ((RTX_3090, RTX_3090, RTX_3090), 32, 2),
        ((RTX_3090, RTX_3090), 9, 1),
        ((RTX_3090, RTX_2080), 32, 1),
    ],
)
def test_equal_cards_share_the_model(cards: tuple[Card, ...], heads: int, used: int) -> None:
    """As many of the first kind as divide the heads of attention."""
    config = FolderConfig("L", "llama", heads, 4096, "bfloat16", "")
    model = replace(QWEN, config=config)
    assert plan(PYTHON, Facts("0.32.0", "cuda", cards), model, Wishes()).tensor_parallel == used


def test_the_desktop_keeps_what_it_uses() -> None:
    """The share is what is free on the fullest card, less half a GiB, cut to hundredths."""
    busy = Card(RTX_3090.name, (8, 6), 20 * GIB, 24 * GIB)
    assert on(busy).memory_share == 0.81
    assert on(RTX_3090, busy).memory_share == 0.81
    assert on(busy, memory_share=0.5).memory_share == 0.5
    with pytest.raises(NotPossible, match=r"1\.0 of 24\.0 GiB free"):
        on(Card("RTX", (8, 6), GIB, 24 * GIB))


def test_what_vllm_takes_before_it_looks_is_left_to_it() -> None:
    """Of an empty card too, of which vLLM gets its most and no more; an owner's word wins."""
    assert on(RTX_3090, beforehand=2 * GIB).memory_share == 0.83
    busy = Card(RTX_3090.name, (8, 6), 20 * GIB, 24 * GIB)
    assert on(busy, beforehand=2 * GIB).memory_share == 0.72
    assert on(busy, memory_share=0.9, beforehand=2 * GIB).memory_share == 0.9


def test_an_old_card_computes_with_halves() -> None:
    """Before compute capability 8.0 there is no bfloat16."""
    assert on(RTX_2080).dtype == "half"
    assert on(RTX_3090).dtype == "auto"


@pytest.mark.parametrize("family", sorted(NEVER_HALF))
def test_a_model_that_halves_do_not_hold_is_refused_on_an_old_card(family: str) -> None:
    """vLLM would end with "does not support float16", at each start anew."""
    config = FolderConfig("G", family, 32, 4096, "bfloat16", "")
    model = replace(QWEN, config=config)
    with pytest.raises(NotPossible, match=r"RTX 30 .* Ti has 7\.5.*--engine llamacpp"):
        plan(PYTHON, Facts("0.32.0", "cuda", (RTX_2080,)), model, Wishes(grouped=True))
    assert plan(PYTHON, Facts("0.32.0", "cuda", (RTX_3090,)), model, Wishes()).dtype == "auto"


@pytest.mark.parametrize(("method", "least"), LEAST_CAPABILITY.items())
def test_a_card_too_old_for_the_weights_is_refused(method: str, least: tuple[int, int]) -> None:
    """The owner is told which capability is needed, and which there is."""
    old = Card("Old", (least[0] - 1, 9), 8 * GIB, 8 * GIB)
    facts = Facts("0.32.0", "cuda", (old,))
    with pytest.raises(NotPossible, match=rf"{least[0]}\.{least[1]}; Old has {least[0] - 1}\.9"):
        plan(PYTHON, facts, quantised(method), Wishes(context=1024))
    good = Facts("0.32.0", "cuda", (replace_capability(old, least),))
    assert plan(PYTHON, good, quantised(method), Wishes(context=1024)).memory_share is not None


def replace_capability(card: Card, capability: tuple[int, int]) -> Card:
    return Card(card.name, capability, card.free, card.total)


@pytest.mark.parametrize(
    ("facts", "wishes", "words"),
    [
        (CPU, Wishes(tensor_parallel=2), "no cards"),
        (CPU, Wishes(memory_share=0.5), "no cards"),
        (CPU, Wishes(context=50_000), "made for 40960 tokens"),
        (Facts("0.32.0", "cuda"), Wishes(), "nvidia-smi"),
        (Facts("0.32.0", "xpu"), Wishes(), "xpu"),
        (Facts("0.32.0", "cuda", (RTX_3090,)), Wishes(tensor_parallel=2), "has 1 cards"),
        (Facts("0.32.0", "cuda", (RTX_3090,) * 3), Wishes(tensor_parallel=3), "32 heads"),
        (Facts("0.32.0", "cuda", (RTX_3090,)), Wishes(cache_gib=2), "--memory-share"),
    ],
)
def test_what_cannot_be_is_said(facts: Facts, wishes: Wishes, words: str) -> None:
    """Each refusal is a sentence about this PC and this model."""
    with pytest.raises(NotPossible, match=words):
        plan(PYTHON, facts, QWEN, wishes)


def test_an_unquantised_model_runs_on_any_card() -> None:
    """Only weights that need special arithmetic have a floor of their own."""
    assert on(GTX_1080, context=512).dtype == "half"
