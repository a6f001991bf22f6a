"""Make a small Llama of four heads with weights of chance, and the tokenizer of another model.

    PYTHON make_divisible.py MODEL FOLDER

Run by the Python of vLLM's environment: it needs torch and transformers.
"""

import importlib
import sys
from pathlib import Path
from typing import Any


def make(model: Path, folder: Path) -> None:
    """Write config, weights as bfloat16, and the tokenizer with its template."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    config = transformers.AutoConfig.from_pretrained(model)
    # Heads of 16 are more than vLLM's attention on a processor can do.
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 4, 2, 32
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 128, 256, 2
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    made.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
