"""How llama.cpp is run on this PC, bare and in a container."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.node.engines.launch import SOCKET, Command
from garage_ai.node.sandbox.order import INSIDE, RUN, Order, memory_limit, weights
from garage_ai.node.sandbox.spec import Limits
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

SERVER: Final = "llamacpp_server.py"
"""Its file, which the image has in INSIDE."""


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How llama.cpp is run; `context` in tokens for each of `slots`.

    `beside` are the model's other files, which llama.cpp looks for beside the weights.
    """

    weights: Path
    name: str
    digest: Digest
    kind: ModelKind
    slots: int
    context: int
    threads: int
    beside: tuple[Path, ...] = ()

    def bare(self, folder: Path) -> Command:
        """Say what is run here, in `folder`, where its socket is to be."""
        argv = (sys.executable, "-m", "garage_ai.node.engines.llamacpp_server")
        words = self._words(self.weights, folder / SOCKET)
        return Command((*argv, *words, "--parent", str(os.getpid())))

    def inside(self) -> Order:
        """Say what is run in a container, its socket in RUN. Raises: NotPossible."""
        mounts = tuple(weights(path) for path in (self.weights, *self.beside))
        server = ("/usr/bin/python3", "-s", f"{INSIDE}/{SERVER}")
        words = self._words(mounts[0].target, f"{RUN}/{SOCKET}")
        # One core more than threads that compute: the server's own need one now and then.
        limits = Limits(memory=memory_limit(), cpus=float(self.threads + 1))
        command = (*server, *words, "--while-stdin-is-open", "--shared-socket")
        return Order(command, limits, mounts)

    def _words(self, model: Path | str, socket: Path | str) -> list[str]:
        """Say the options to llama.cpp's server, with the paths as it will see them."""
        words = {
            "--model": model,
            "--alias": self.name,
            "--socket": socket,
            "--slots": self.slots,
            "--context": self.context,
            "--threads": self.threads,
        }
        argv = [str(word) for pair in words.items() for word in pair]
        return [*argv, "--embedding"] if self.kind == "embedding" else argv


__all__ = ["SERVER", "LlamaOptions"]
