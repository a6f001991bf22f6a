"""What published models need, beside what their makers and others published of them."""

import pytest

from garage_ai.catalog import KNOWN, QUANTISATIONS
from garage_ai.catalog.known_shapes import Known

GB = 10**9
GIB = 1 << 30

LLAMA_TABLE = "llama.cpp, tools/quantize/README.md, table of Llama-3.1-8B"
BARTOWSKI = "huggingface.co/bartowski, list of files of the model's GGUF"
CODER = "huggingface.co/steampunque/Qwen3-Coder-Next-Hybrid-GGUF, same shape"
LMSTUDIO = "lmstudio-ai/lmstudio-bug-tracker issue 1266: file size = 45.08 GiB (4.86 BPW)"
GPTQ = "huggingface.co/btbtyler09/Qwen3-Coder-Next-GPTQ-4bit: groups of 32, attention in 16 bits"

PUBLISHED = [
    ("Llama-3.1-8B-Instruct", "bf16", 14.96 * GIB, 0.01, LLAMA_TABLE),
    ("Llama-3.1-8B-Instruct", "Q8_0", 7.95 * GIB, 0.01, LLAMA_TABLE),
    ("Llama-3.1-8B-Instruct", "Q4_K_M", 4.58 * GIB, 0.01, LLAMA_TABLE),
    ("Qwen3-14B", "bf16", 29.54 * GB, 0.01, BARTOWSKI),
    ("Qwen3-14B", "Q8_0", 15.70 * GB, 0.01, BARTOWSKI),
    ("Qwen3-14B", "Q4_K_M", 9.00 * GB, 0.02, BARTOWSKI),
    ("Qwen3-32B", "bf16", 65.53 * GB, 0.01, BARTOWSKI),
    ("Qwen3-32B", "Q8_0", 34.82 * GB, 0.01, BARTOWSKI),
    ("Qwen2.5-7B-Instruct", "int4", 5.2032 * GIB, 0.01, "vLLM issue 13882: weights took 5.2032"),
    # Of two cards each took 13.9476 GiB: vLLM keeps some parts on both.
    ("Qwen2.5-14B-Instruct", "bf16", 2 * 13.9476 * GIB, 0.03, "vLLM issue 13061, two RTX 4090"),
    ("gpt-oss-20b", "mxfp4", 12.8 * GIB, 0.01, "gpt-oss model card: checkpoint of 12.8 GiB"),
    ("Qwen3-Next-80B-A3B-Instruct", "bf16", 160 * GB, 0.01, GPTQ),
    ("Qwen3-Next-80B-A3B-Instruct", "Q4_K_M", 48.5 * GB, 0.01, CODER),
    ("Qwen3-Next-80B-A3B-Instruct", "Q4_K_M", 45.08 * GIB, 0.01, LMSTUDIO),
    ("Qwen3-Next-80B-A3B-Instruct", "int4-experts", 47 * GB, 0.03, GPTQ),
]


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN.keys())
def test_parameters_are_those_of_the_model_card(known: Known) -> None:
    """The shape adds up to what was published, to a hundredth: no field is wrong by much."""
    assert known.shape.parameters / GB == pytest.approx(known.published, rel=0.01)


@pytest.mark.parametrize(("model", "form", "published", "within", "source"), PUBLISHED)
def test_weights_are_as_large_as_published(
    model: str, form: str, published: float, within: float, source: str
) -> None:
    """Files and engines' logs say the same as the formula."""
    computed = QUANTISATIONS[form].weights(KNOWN[model].shape)
    assert computed == pytest.approx(published, rel=within), source


@pytest.mark.parametrize(("tokens", "published"), [(16_000, 1.95), (128_000, 15.62)])
def test_the_cache_is_as_large_as_published(tokens: int, published: float) -> None:
    """GiB of Llama 3.1 8B's cache in FP16 (huggingface.co/blog/llama31)."""
    shape = KNOWN["Llama-3.1-8B-Instruct"].shape
    assert shape.cache_bytes(tokens) / GIB == pytest.approx(published, rel=0.01)


def test_layers_with_a_state_keep_no_keys() -> None:
    """Qwen3-Next: a quarter of the layers grows with the context, the rest does not."""
    shape = KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape
    growth = shape.cache_bytes(2000) - shape.cache_bytes(1000)
    assert growth == 1000 * 12 * 2 * 2 * 256 * 2
    assert shape.cache_bytes(0) > 0


def test_layers_with_a_window_stop_growing() -> None:
    """gpt-oss: half the layers look back 128 tokens."""
    shape = KNOWN["gpt-oss-20b"].shape
    token = 2 * 8 * 64 * 2
    assert shape.cache_bytes(100) == 24 * 100 * token
    assert shape.cache_bytes(1000) == (12 * 1000 + 12 * 128) * token


def test_a_model_of_experts_reads_only_some_of_them() -> None:
    """A3B: a token reads about three billion weights beside the embedding, of eighty."""
    shape = KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape
    active = shape.attention + shape.dense + shape.expert_active
    assert active / GB == pytest.approx(3, rel=0.15)


def test_fewer_bits_are_less_memory() -> None:
    """The order in which forms are tried is the order of their size, for every dense model."""
    names = ["bf16", "Q8_0", "Q4_K_M"]
    for known in KNOWN.values():
        sizes = [QUANTISATIONS[name].weights(known.shape) for name in names]
        assert sizes == sorted(sizes, reverse=True)
