"""Read a model's shape from its config.json, as Hugging Face's config classes name the fields."""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.catalog.local_folder import CONFIG, read_json
from garage_ai.catalog.shapes import Linear, Shape

_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]
_Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
_MOST_LAYERS: Final = 4096
_Layers = Annotated[list[str], msgspec.Meta(max_length=_MOST_LAYERS)]


class _Fields(msgspec.Struct):
    """Of one decoder; what one family calls otherwise than another stands beside it."""

    num_hidden_layers: Annotated[int, msgspec.Meta(ge=1, le=_MOST_LAYERS)] | None = None
    hidden_size: _Count | None = None
    num_attention_heads: _Count | None = None
    num_key_value_heads: _Count | None = None
    head_dim: _Count | None = None
    vocab_size: _Count | None = None
    max_position_embeddings: _Count | None = None
    intermediate_size: _Count | None = None
    attention_bias: bool | None = None
    sliding_window: _Count | None = None
    layer_types: _Layers | None = None

    num_experts: _Amount | None = None
    num_local_experts: _Amount | None = None
    num_experts_per_tok: _Amount | None = None
    moe_intermediate_size: _Amount | None = None
    shared_expert_intermediate_size: _Amount | None = None

    linear_num_key_heads: _Count | None = None
    linear_num_value_heads: _Count | None = None
    linear_key_head_dim: _Count | None = None
    linear_value_head_dim: _Count | None = None
    linear_conv_kernel_dim: _Count | None = None
    full_attention_interval: _Count | None = None

    # Their memory is another sum than ours: latent keys, and layers of a state (Mamba).
    kv_lora_rank: int | None = None
    mamba_d_state: int | None = None
    ssm_state_size: int | None = None
    state_size: int | None = None


class _Config(_Fields):
    text_config: _Fields | None = None


def read_folder_shape(folder: Path, name: str) -> Shape | None:
    """Read the shape of the model in `folder`; None where its memory is not ours to compute.

    Raises: FolderInvalid.
    """
    config = read_json(folder / CONFIG, _Config)
    found = config.text_config or config
    layers, hidden, heads = found.num_hidden_layers, found.hidden_size, found.num_attention_heads
    vocabulary, context = found.vocab_size, found.max_position_embeddings
    if not (layers and hidden and heads and vocabulary and context) or _other_sum(found):
        return None
    experts = found.num_experts or found.num_local_experts or 0
    # A family without a width of its own for experts has no other layers.
    width = found.intermediate_size or 0
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=found.num_key_value_heads or heads,
        head_dim=found.head_dim or max(1, hidden // heads),
        vocabulary=vocabulary,
        context=context,
        intermediate=0 if experts else width,
        biased=bool(found.attention_bias),
        experts=experts,
        experts_used=(found.num_experts_per_tok or 0) if experts else 0,
        expert_intermediate=(found.moe_intermediate_size or width) if experts else 0,
        shared=(found.shared_expert_intermediate_size or 0) if experts else 0,
        windowed=(found.layer_types or []).count("sliding_attention"),
        window=found.sliding_window or context,
        linear=_linear(found, layers),
    )


def _other_sum(found: _Fields) -> bool:
    others = (found.kv_lora_rank, found.mamba_d_state, found.ssm_state_size, found.state_size)
    return any(each is not None for each in others)


def _linear(found: _Fields, layers: int) -> Linear | None:
    keys, values = found.linear_num_key_heads, found.linear_num_value_heads
    if not (keys and values and found.linear_key_head_dim and found.linear_value_head_dim):
        return None
    if found.layer_types:
        count = found.layer_types.count("linear_attention")
    else:
        # Qwen3NextConfig's own default.
        count = layers - layers // (found.full_attention_interval or 4)
    return Linear(
        layers=min(count, layers),
        key_heads=keys,
        value_heads=values,
        key_dim=found.linear_key_head_dim,
        value_dim=found.linear_value_head_dim,
        kernel=found.linear_conv_kernel_dim or 1,
    )


__all__ = ["read_folder_shape"]
