"""How an engine's process comes to be: bare, or in a container. One port for all engines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.port import Fence
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.order import Order

SOCKET: Final = "engine.sock"

OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Command:
    """What is run with this user's rights; `environment` None is the agent's own."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] | None = None


class Startable(Protocol):
    """An engine as decided on: it says how it is run, whoever launches it."""

    def bare(self, folder: Path) -> Command:
        """Say what is run here, in `folder`, where its socket is to be."""

    def inside(self) -> Order:
        """Say what is run in a container, its socket in RUN. Raises: NotPossible."""


class Launcher(Protocol):
    """Starts an engine's process and leaves nothing of it behind."""

    @property
    def fence(self) -> Fence:
        """What stands between the engine and this PC."""

    def socket_folder(self, run: Path) -> Path:
        """Make the folder the engine's socket will be in; nobody but this user gets there."""

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        """Start the process; `on_line` hears all that it says. Raises: EngineLost."""

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

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        """Start the process. Raises: EngineLost."""
        command = what.bare(folder)
        return await Child.start(
            command.argv, log, folder, environment=command.environment, on_line=on_line
        )

    async def clear(self) -> None:
        """Do nothing: the kernel has done it."""


__all__ = ["SOCKET", "BareLauncher", "Command", "Launcher", "OnLine", "Startable"]
