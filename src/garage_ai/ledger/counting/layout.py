"""What is kept of a model for counting: a folder with its vocabulary and template, no weights.

Either `header.gguf`, the beginning of the model's file up to its weights, or the files of a
repository that say the same: `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`.
"""

from pathlib import Path
from typing import Final

HEADER: Final = "header.gguf"
TOKENIZER: Final = "tokenizer.json"
CONFIG: Final = "tokenizer_config.json"
TEMPLATE: Final = "chat_template.jinja"
FOLDER_FILES: Final = (TOKENIZER, CONFIG, TEMPLATE)


def folder_of(root: Path, digest: str) -> Path:
    """Name the folder of a model."""
    return root / digest.rpartition(":")[2]


__all__ = ["CONFIG", "FOLDER_FILES", "HEADER", "TEMPLATE", "TOKENIZER", "folder_of"]
