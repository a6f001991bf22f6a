"""Options of `gai node join` and `run` that only vLLM knows."""

from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli.node_words import say

VllmPython = Annotated[
    Path | None,
    typer.Option(
        "--vllm-python",
        metavar="PATH",
        envvar="GAI_VLLM_PYTHON",
        help=say("option.vllm_python"),
    ),
]
TensorParallel = Annotated[
    int | None,
    typer.Option(
        "--tensor-parallel", min=1, max=64, metavar="N", help=say("option.tensor_parallel")
    ),
]
MemoryShare = Annotated[
    float | None,
    typer.Option(
        "--memory-share", min=0.1, max=0.98, metavar="0.8", help=say("option.memory_share")
    ),
]
CacheGib = Annotated[
    int | None,
    typer.Option("--kv-cache-gib", min=1, max=4096, metavar="N", help=say("option.kv_cache_gib")),
]
ChatTemplate = Annotated[
    Path | None,
    typer.Option("--chat-template", metavar="FILE", help=say("option.chat_template")),
]

__all__ = ["CacheGib", "ChatTemplate", "MemoryShare", "TensorParallel", "VllmPython"]
