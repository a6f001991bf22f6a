"""A model's shape out of its config.json, held to the table of published ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from garage_ai.catalog import KNOWN, FolderInvalid, Shape, read_folder_shape

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "intermediate_size": 14_336,
    "attention_bias": False,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151_936,
    "max_position_embeddings": 40_960,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "sliding_window": None,
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "vocab_size": 151_936,
    "max_position_embeddings": 262_144,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
}
GPT_OSS = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "hidden_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 201_088,
    "max_position_embeddings": 131_072,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "attention_bias": True,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
}


def read(folder: Path, config: dict[str, Any], name: str = "m") -> Shape | None:
    (folder / "config.json").write_text(json.dumps(config))
    return read_folder_shape(folder, name)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (LLAMA, "Llama-3.1-8B-Instruct"),
        (QWEN3_MOE, "Qwen3-30B-A3B"),
        (QWEN3_NEXT, "Qwen3-Next-80B-A3B-Instruct"),
        (GPT_OSS, "gpt-oss-20b"),
        ({"model_type": "x_vl", "text_config": LLAMA}, "Llama-3.1-8B-Instruct"),
    ],
)
def test_a_published_config_gives_the_known_shape(
    tmp_path: Path, config: dict[str, Any], name: str
) -> None:
    """Field by field, but for a gate of queries and a window of no layer, which no sum needs."""
    known = KNOWN[name].shape
    found = read(tmp_path, config, name)
    assert found is not None
    assert replace(found, gated=known.gated, window=known.window) == known
    assert found.cache_bytes(32_768) == known.cache_bytes(32_768)


@pytest.mark.parametrize(
    "more",
    [
        {"kv_lora_rank": 512},
        {"mamba_d_state": 128},
        {"hidden_size": None},
        {"num_hidden_layers": None},
    ],
)
def test_another_sum_is_not_ours(tmp_path: Path, more: dict[str, Any]) -> None:
    """Latent keys, Mamba's states and configs that say too little are left to the engine."""
    assert read(tmp_path, LLAMA | more) is None


@pytest.mark.parametrize("more", [{"hidden_size": -1}, {"num_hidden_layers": 1 << 40}])
def test_what_cannot_be_is_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    """A stranger wrote the file."""
    with pytest.raises(FolderInvalid):
        read(tmp_path, LLAMA | more)
