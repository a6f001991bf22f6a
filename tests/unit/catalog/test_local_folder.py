"""Folders of safetensors that their owner points at."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.parts.folders import TEMPLATE, model_folder, safetensors

from garage_ai.catalog import (
    FolderInvalid,
    InFolder,
    Manifest,
    digest_of,
    manifest_for_folder,
    read_folder_config,
)
from garage_ai.catalog.local_folder import files_of
from garage_ai.catalog.safetensors import count_parameters


def described(folder: Path) -> Manifest:
    sums = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files_of(folder)
    }
    return manifest_for_folder(folder, sums)


def test_a_folder_becomes_a_manifest(tmp_path: Path) -> None:
    """Config first, then all files by name; what it says of itself, and where it is."""
    folder = model_folder(tmp_path / "My Model")
    made = described(folder)
    assert [file.path for file in made.files] == [
        "config.json",
        "chat_template.jinja",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (made.name, made.family, made.kind) == ("my-model", "llama", "chat")
    assert (made.context_length, made.parameters, made.quantisation) == (2048, 17, "bf16")
    assert made.template_digest == "sha256:" + hashlib.sha256(TEMPLATE.encode()).hexdigest()
    assert made.tokenizer_digest == "sha256:" + hashlib.sha256(b"{}").hexdigest()
    assert made.sources == (InFolder(folder=str(folder)),)


def test_the_digest_goes_by_content(tmp_path: Path) -> None:
    """Two homes of the same files are one model; one byte more is another."""
    one, two = (model_folder(tmp_path / home / "m") for home in ("a", "b"))
    assert digest_of(described(one)) == digest_of(described(two))
    (two / "tokenizer.json").write_text("{ }")
    assert digest_of(described(one)) != digest_of(described(two))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("bf16", 4)),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, ("awq", 4)),
        ({"dtype": None, "torch_dtype": "float16"}, ("fp16", 4)),
        (
            {
                "architectures": ["Gemma3ForConditionalGeneration"],
                "num_attention_heads": None,
                "max_position_embeddings": None,
                "text_config": {"num_attention_heads": 8, "max_position_embeddings": 100},
            },
            ("bf16", 8),
        ),
    ],
)
def test_configs_of_several_kinds_are_read(
    tmp_path: Path, config: dict[str, Any], expected: tuple[str, int]
) -> None:
    """Quantised, older, and with the text model's numbers in a part of their own."""
    folder = model_folder(tmp_path / "m", **config)
    assert (described(folder).quantisation, read_folder_config(folder).heads) == expected


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "code of its own"),
        ({"architectures": ["BertModel"]}, "writes text: BertModel"),
        ({"architectures": []}, "writes text"),
        ({"num_attention_heads": 0}, "config.json"),
        ({"max_position_embeddings": None}, "writes text"),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    """Models with their own code, models that do not write, configs that make no sense."""
    with pytest.raises(FolderInvalid, match=words):
        read_folder_config(model_folder(tmp_path / "m", **config))


def test_only_whole_weights_without_a_pickle_count(tmp_path: Path) -> None:
    """A pickle is no weight, a part that the index names must be there, hidden files are not."""
    folder = model_folder(tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_m.py").write_text("import os")
    (folder / ".hidden.json").write_text("{}")
    assert len(files_of(folder)) == 4
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FolderInvalid, match="lacks model-2"):
        files_of(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(FolderInvalid, match=r"no config.json with weights"):
        files_of(folder)
    with pytest.raises(FolderInvalid, match="cannot be read"):
        files_of(tmp_path / "none")


def test_a_folder_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    """A download that goes on while its files are hashed, which takes minutes."""
    folder = model_folder(tmp_path / "m")
    sums = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files_of(folder)
    }
    (folder / "generation_config.json").write_text("{}")
    with pytest.raises(FolderInvalid, match="changed"):
        manifest_for_folder(folder, sums)


def test_a_template_may_stand_in_the_tokenizer(tmp_path: Path) -> None:
    """Without any the model completes text and does not chat; a tokenizer with code is refused."""
    folder = model_folder(tmp_path / "m")
    (folder / "chat_template.jinja").unlink()
    assert described(folder).kind == "completion"
    tokenizer = folder / "tokenizer_config.json"
    for template in ("{{ x }}", [{"name": "default", "template": "{{ x }}"}]):
        tokenizer.write_text(json.dumps({"chat_template": template}))
        assert described(folder).kind == "chat"
    tokenizer.write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.T", None]}}))
    with pytest.raises(FolderInvalid, match="auto_map"):
        described(folder)


def test_a_snapshot_is_called_after_its_repository(tmp_path: Path) -> None:
    """In a cache of Hugging Face the folder's own name is a commit."""
    folder = model_folder(tmp_path / "models--Qwen--Qwen3-8B" / "snapshots" / ("0" * 40))
    assert described(folder).name == "qwen3-8b"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02",
        b"\xff" * 64,
        (100).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": 12}',
        safetensors({"a": (1,)})[:20],
    ],
)
def test_what_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    """Cut, empty or something else: the file's name is told."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FolderInvalid, match=r"x\.safetensors"):
        count_parameters(path)
