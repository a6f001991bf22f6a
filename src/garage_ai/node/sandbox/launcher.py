"""llama.cpp in a container: the same process and the same supervision as the bare one."""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil
import structlog

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import SOCKET, LlamaOptions, server_words
from garage_ai.node.engines.port import Fence
from garage_ai.node.errors import EngineLost, NotPossible, RuntimeBroken
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.argv import run_argv
from garage_ai.node.sandbox.build import INSIDE, SERVER
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.spec import ContainerSpec, Limits, Mount

_log = structlog.get_logger(__name__)

RUN: Final = "/run/gai"
MODELS: Final = "/models"
_FOLDER: Final = "engine"
_SHARE: Final = 0.75
"""Of the PC's memory; the last quarter stays the owner's whatever the engine does."""


class ContainerLauncher:
    """Starts an engine in a container of its own and sees that it is gone afterwards.

    Inside the engine is a user without a name here, so its folder is open to all; the run folder
    around it lets nobody but the owner through.
    """

    def __init__(
        self, containers: Containers, image: str, run: Path, seccomp: Path | None = None
    ) -> None:
        self.runtime = containers.runtime
        self.image = image
        self._seccomp = seccomp
        self._containers = containers
        self._run = run

    @property
    def fence(self) -> Fence:
        """What stands between the engine and this PC."""
        return Fence(self.runtime.program, self.runtime.enforces)

    def argv(self, options: LlamaOptions) -> tuple[str, ...]:
        """Make the command that is run, for the owner to see. Raises: NotPossible."""
        models = [_model(path) for path in (options.weights, *options.beside)]
        command = ["/usr/bin/python3", "-s", f"{INSIDE}/{SERVER}"]
        command += server_words(options, models[0].target, f"{RUN}/{SOCKET}")
        command += ["--while-stdin-is-open", "--shared-socket"]
        spec = self._spec(tuple(command), limits(options.threads), *models)
        return run_argv(spec, self.runtime)

    def argv_of(self, command: tuple[str, ...], *, seconds: int) -> tuple[str, ...]:
        """Make the command that runs another program in the engine's place, for so long at most."""
        bounded = replace(limits(1), seconds=seconds)
        return run_argv(self._spec(command, bounded, name="probe"), self.runtime)

    def _spec(
        self, command: tuple[str, ...], bounds: Limits, *mounts: Mount, name: str = "engine"
    ) -> ContainerSpec:
        own = Mount(self.socket_folder(self._run), RUN, writable=True)
        return ContainerSpec(
            image=self.image,
            name=f"gai-{self._containers.tag}-{name}",
            command=command,
            limits=bounds,
            mounts=(own, *mounts),
            labels=self._containers.labels,
            seccomp=self._seccomp,
        )

    def socket_folder(self, run: Path) -> Path:
        """Make the folder that is mounted; nobody but this user gets there."""
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.chmod(0o700)
        folder = run.absolute() / _FOLDER
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        return folder

    async def launch(self, options: LlamaOptions, folder: Path, log: BoundedLog) -> Child:
        """Start the container. Raises: EngineLost."""
        try:
            argv = self.argv(options)
        except NotPossible as error:
            raise EngineLost(str(error)) from error
        return await Child.start(argv, log, folder, hold_stdin=True)

    async def clear(self) -> None:
        """Remove every container of this folder. Raises: EngineLost."""
        try:
            removed = await self._containers.clear()
        except RuntimeBroken as error:
            raise EngineLost(str(error)) from error
        if removed:
            _log.info("containers_removed", number=removed)


def limits(threads: int) -> Limits:
    """Decide what an engine may use of this PC."""
    memory = int(psutil.virtual_memory().total * _SHARE)
    # One core more than threads that compute: the server's own need one now and then.
    return Limits(memory=memory, cpus=float(threads + 1))


def _model(path: Path) -> Mount:
    # A store may call a file by its digest; inside it bears its own name.
    return Mount(readable(path), f"{MODELS}/{path.name}")


def readable(weights: Path) -> Path:
    """Give the file itself, which the user inside must be able to read. Raises: NotPossible."""
    try:
        path = weights.resolve(strict=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise NotPossible(f"{weights} cannot be used: {error.strerror}") from error
    if not mode & stat.S_IROTH:
        raise NotPossible(
            f"The engine's own user inside the sandbox cannot read {path}. Fix: chmod o+r '{path}'"
        )
    return path


__all__ = ["ContainerLauncher", "limits", "readable"]
