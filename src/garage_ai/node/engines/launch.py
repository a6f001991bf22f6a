"""How llama.cpp's process comes to be: started bare, or in a container. One port for both."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.port import Fence
from garage_ai.node.logs import BoundedLog
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

SOCKET: Final = "engine.sock"


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


class Launcher(Protocol):
    """Starts an engine's process and leaves nothing of it behind."""

    @property
    def fence(self) -> Fence:
        """What stands between the engine and this PC."""

    def socket_folder(self, run: Path) -> Path:
        """Make the folder the engine's socket will be in; nobody but this user gets there."""

    async def launch(self, options: LlamaOptions, folder: Path, log: BoundedLog) -> Child:
        """Start the process. Raises: EngineLost."""

    async def clear(self) -> None:
        """Remove all that an earlier run has left, of this agent or of one that died.

        Raises: EngineLost.
        """


class BareLauncher:
    """A child of this process, with this user's rights: for development, and `gai up`'s own node.

    It dies with its parent, so there is nothing to clear.
    """

    fence: Final = Fence()

    def socket_folder(self, run: Path) -> Path:
        """Give the run folder itself."""
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.chmod(0o700)
        return run.absolute()

    async def launch(self, options: LlamaOptions, folder: Path, log: BoundedLog) -> Child:
        """Start the process. Raises: EngineLost."""
        argv = [sys.executable, "-m", "garage_ai.node.engines.llamacpp_server"]
        argv += server_words(options, options.weights, folder / SOCKET)
        return await Child.start([*argv, "--parent", str(os.getpid())], log, folder)

    async def clear(self) -> None:
        """Do nothing: the kernel has done it."""


def server_words(options: LlamaOptions, model: Path | str, socket: Path | str) -> Sequence[str]:
    """Say the options to llama.cpp's server, with the paths as it will see them."""
    words = {
        "--model": model,
        "--alias": options.name,
        "--socket": socket,
        "--slots": options.slots,
        "--context": options.context,
        "--threads": options.threads,
    }
    argv = [str(word) for pair in words.items() for word in pair]
    return [*argv, "--embedding"] if options.kind == "embedding" else argv


__all__ = ["SOCKET", "BareLauncher", "Launcher", "LlamaOptions", "server_words"]
