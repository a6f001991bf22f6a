"""What the files of published models hold, tensor by tensor, by the names that they have there."""

from collections.abc import Iterator

from garage_ai.catalog import Quantisation, Shape, Weights
from garage_ai.catalog.folder_weights import weigh
from garage_ai.catalog.safetensors import Tensor


def tensors_of(
    shape: Shape, form: Quantisation, table: str = "model.embed_tokens.weight"
) -> Iterator[tuple[str, Tensor]]:
    """Give the tensors of a model in this form; one that is tied has no head."""
    layer = "model.layers.0"
    parts = {
        table: form.outer * shape.embedding,
        f"{layer}.self_attn.q_proj.qweight": form.attention * shape.attention,
        f"{layer}.mlp.gate.weight": form.dense * shape.dense,
        f"{layer}.mlp.experts.0.down_proj.qweight": form.experts * shape.expert,
    }
    if not form.tied:
        parts["lm_head.weight"] = form.outer * shape.embedding
    for name, bits in parts.items():
        yield name, Tensor(dtype="BF16", data_offsets=(0, -int(-bits // 8)))


def weights_of(
    shape: Shape, form: Quantisation, table: str = "model.embed_tokens.weight"
) -> Weights:
    """Sum them up."""
    return weigh(tensors_of(shape, form, table), quantised=form.name != "bf16")


__all__ = ["tensors_of", "weights_of"]
