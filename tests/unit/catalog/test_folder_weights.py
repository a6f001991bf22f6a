"""What the weights in a folder's files take, part by part, out of their headers."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.parts.folders import model_folder, safetensors
from tests.parts.weights import weights_of

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    FolderInvalid,
    Weights,
    form_of,
    read_folder_config,
    read_folder_weights,
)

SHAPE = KNOWN["Qwen3-30B-A3B"].shape
TENSORS = {
    "model.embed_tokens.weight": (2, 4),
    "lm_head.weight": (3, 4),
    "model.layers.0.self_attn.q_proj.weight": (4, 4),
    "model.layers.0.linear_attn.in_proj.weight": (1, 4),
    "model.layers.0.mlp.experts.7.up_proj.weight": (5, 4),
    "model.layers.0.mlp.shared_expert.up_proj.weight": (6, 4),
    "model.layers.0.input_layernorm.weight": (4,),
}


def test_tensors_are_told_apart_by_their_names(tmp_path: Path) -> None:
    """Over all files that the engine loads; what else there is goes to the dense part."""
    one, two, other = (tmp_path / name for name in ("a", "b", "c"))
    one.write_bytes(safetensors(dict(list(TENSORS.items())[:3])))
    two.write_bytes(safetensors(dict(list(TENSORS.items())[3:])))
    other.write_bytes(b"never looked at")
    files = {"a.safetensors": one, "b.safetensors": two, "original/a.safetensors": other}
    found = read_folder_weights(files, quantised=True)
    assert found == Weights(table=16, head=24, attention=40, experts=40, dense=56)
    index = tmp_path / "index"
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    files["model.safetensors.index.json"] = index
    assert read_folder_weights(files, quantised=True) == Weights(table=16, head=24, attention=32)


@pytest.mark.parametrize(("dtype", "size", "loaded"), [("F32", 8, 4), ("F8_E4M3", 2, 4)])
def test_what_is_not_quantised_is_loaded_as_half(
    tmp_path: Path, dtype: str, size: int, loaded: int
) -> None:
    """However its file keeps it; scales of a quantised model stay as they are."""
    files = {"m.safetensors": tmp_path / "m"}
    files["m.safetensors"].write_bytes(written({"a": (dtype, 0, size)}, size))
    assert read_folder_weights(files, quantised=False) == Weights(dense=loaded)
    assert read_folder_weights(files, quantised=True) == Weights(dense=size)


def written(tensors: dict[str, tuple[str, Any, Any]], length: int) -> bytes:
    header = {
        name: {"dtype": dtype, "shape": [1], "data_offsets": [begin, end]}
        for name, (dtype, begin, end) in tensors.items()
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(length)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": {}}',
        struct.pack("<Q", 50_000) + b"[" * 50_000,
        written({"a": ("BF16", 0, 4)}, 8),
        written({"a": ("BF16", 0, 1 << 50)}, 8),
        written({"a": ("BF16", 8, 0)}, 0),
        written({"a": ("BF16", -8, 0)}, 0),
        written({"a": ("BF16", 0, 8), "b": ("BF16", 4, 8)}, 8),
        written({"a": ("BF16", 0.5, 8)}, 8),
        written({"a": ("BF16", 0, 10**40)}, 8),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, hostile: bytes) -> None:
    """Its tensors lie one after the other and are all of the file, as the engine asks too."""
    file = tmp_path / "m.safetensors"
    file.write_bytes(hostile)
    with pytest.raises(FolderInvalid):
        read_folder_weights({file.name: file}, quantised=True)
    with pytest.raises(FolderInvalid):
        read_folder_weights({}, quantised=True)


@pytest.mark.parametrize("name", ["fp8", "int4", "int4-experts", "bf16"])
def test_a_published_form_is_found_again(name: str) -> None:
    """Bit by bit of each part."""
    form = QUANTISATIONS[name]
    found = form_of(name, weights_of(SHAPE, form), SHAPE, form.compute, form.block)
    assert found[2:6] == pytest.approx(form[2:6], rel=1e-4)
    assert (found.block, found.tied) == (form.block, False)


def test_a_table_that_is_the_head_too_is_there_once_for_both_ends() -> None:
    """And once on either of two cards that have an end each."""
    form = QUANTISATIONS["bf16"]._replace(tied=True)
    found = form_of("bf16", weights_of(SHAPE, form), SHAPE, (0, 0), 1)
    once = 2 * SHAPE.embedding
    assert found.tied
    assert found.weights(SHAPE) == found.weights(SHAPE, 1) == found.weights(SHAPE, 0) + once


@pytest.mark.parametrize(
    "odd",
    [
        Weights(dense=17 << 30),
        Weights(table=1 << 30, dense=16 << 30),
        Weights(table=1 << 30, head=1 << 30, attention=15 << 30),
        Weights(head=1 << 30, attention=1 << 30, experts=14 << 30, dense=1 << 20),
    ],
)
def test_what_cannot_be_told_apart_is_never_left_out(odd: Weights) -> None:
    """Whatever the names are, no less is planned than the files hold."""
    dense = KNOWN["Qwen3-32B"].shape
    for shape in (SHAPE, dense):
        assert form_of("odd", odd, shape, (0, 0), 1).weights(shape) >= 0.999 * sum(odd)
    assert form_of("none", Weights(), SHAPE, (0, 0), 1).weights(SHAPE) > 0


@pytest.mark.parametrize(
    ("said", "block"),
    [
        ({}, 1),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 128),
        ({"quant_method": "fp8", "weight_block_size": None}, 1),
        ({"quant_method": "awq", "group_size": 128}, 128),
        ({"quant_method": "gptq", "group_size": 32}, 64),
        ({"quant_method": "gptq", "group_size": -1}, 64),
        ({"quant_method": "mxfp4"}, 1),
        ({"config_groups": {"g": {"weights": {"group_size": 128}}, "h": {"weights": None}}}, 128),
        ({"config_groups": {"g": {"weights": {"block_structure": [128, 64]}}}}, 128),
    ],
)
def test_what_shares_a_scale_is_read(tmp_path: Path, said: dict[str, Any], block: int) -> None:
    """As each maker of quantised models writes it."""
    assert read_folder_config(model_folder(tmp_path / "m", quantization_config=said)).block == block


@pytest.mark.parametrize(
    "said",
    [
        {"weight_block_size": [0]},
        {"weight_block_size": "128"},
        {"group_size": 2**70},
        {"group_size": -2},
    ],
)
def test_a_block_that_is_none_is_refused(tmp_path: Path, said: dict[str, Any]) -> None:
    """In the words of a folder that cannot be used."""
    with pytest.raises(FolderInvalid):
        read_folder_config(model_folder(tmp_path / "m", quantization_config=said))
