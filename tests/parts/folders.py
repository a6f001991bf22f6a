"""Folders of models in the form of Hugging Face, with weights of a few bytes."""

import json
import struct
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "dtype": "bfloat16",
}
TEMPLATE = "{{ messages }}"


def safetensors(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """Make a file of bfloat16 zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        size = 2
        for axis in shape:
            size *= axis
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def model_folder(folder: Path, **config: Any) -> Path:
    """Make a folder that holds a whole model; `config` changes what it says of itself."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "model.safetensors").write_bytes(safetensors({"a": (3, 5), "b": (2,)}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder
