"""An engine in a container: the same process and the same supervision as the bare one."""

import asyncio
import random
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import OnLine, Startable
from garage_ai.node.engines.port import Fence
from garage_ai.node.errors import EngineLost, NotPossible, RuntimeBroken
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.argv import run_argv
from garage_ai.node.sandbox.command import Said, ask
from garage_ai.node.sandbox.containers import JOB_LABEL, Containers
from garage_ai.node.sandbox.images import Built, engine_image, inspect
from garage_ai.node.sandbox.order import RUN, Order, memory_limit
from garage_ai.node.sandbox.spec import ContainerSpec, Limits, Mount

_log = structlog.get_logger(__name__)

Again = Callable[[], Awaitable[tuple[str, Built | None]]]
"""Gives an image, and what it was built of if it was built here. Raises: NotPossible."""

_FOLDER: Final = "engine"
_JOB: Final = "job-"
_ENGINE: Final = "engine"
_PROBE: Final = "probe"
_GRACE: Final = 30.0
"""For a container to come and go, beside the time its program has."""

_LOOKS: Final = (0.25, 0.5, 1.0) + 60 * (2.0,)
"""Seconds before each look for a container's first process; asking takes a tenth of one. The guard
acts on a stranger that holds a card for two seconds, and an engine first loads its libraries."""


class ContainerLauncher:
    """Starts an engine in a container of its own and sees that it is gone afterwards.

    Inside the engine is a user without a name here, so its folder is open to all; the run folder
    around it lets nobody but the owner through. `built` tells what an image was built of that was
    built here. `again` gets the image once more where it is gone: while nothing runs it, whoever
    clears up this PC takes it along.
    """

    def __init__(
        self,
        containers: Containers,
        image: str,
        run: Path,
        seccomp: Path | None = None,
        *,
        built: Built | None = None,
        again: Again | None = None,
    ) -> None:
        self.runtime = containers.runtime
        self.image = image
        self._built = built
        self._again = again
        self._seccomp = seccomp
        self._containers = containers
        self._run = run
        self._job = ""
        self._folder = _FOLDER

    @property
    def fence(self) -> Fence:
        """What stands between the engine and this PC."""
        said = engine_image(self.image, self._built)
        return Fence(self.runtime.program, self.runtime.enforces, said)

    def argv(self, what: Startable) -> tuple[str, ...]:
        """Make the command that is run, for the owner to see. Raises: NotPossible."""
        return run_argv(self._spec(what.inside()), self.runtime)

    def argv_of(
        self,
        command: tuple[str, ...],
        *,
        seconds: int,
        what: Startable | None = None,
        gpus: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        """Make the command that runs another program in the engine's place, for so long at most.

        `what` None: in the image alone, with `gpus`, while it is not known what is to be run.
        Raises: NotPossible.
        """
        alone = Order(command, Limits(memory=memory_limit(), cpus=2.0), gpus=gpus)
        order = what.inside() if what else alone
        limits = replace(order.limits, seconds=seconds)
        own = replace(order, command=command, limits=limits)
        return run_argv(self._spec(own, name=_PROBE), self.runtime)

    async def ask(
        self,
        command: tuple[str, ...],
        *,
        seconds: int,
        stdin: bytes | None = None,
        what: Startable | None = None,
        gpus: tuple[str, ...] = (),
    ) -> Said:
        """Run another program in the engine's place as `argv_of` says it, and give what it says.

        Raises: NotPossible; RuntimeBroken when it does not end in time.
        """
        await self._have_image()
        argv = self.argv_of(command, seconds=seconds, what=what, gpus=gpus)
        ended = False
        try:
            said = await ask(argv, seconds=seconds + _GRACE, stdin=stdin)
            ended = True
        finally:
            # Docker has no limit of time, and its container goes on without its client.
            if not ended:
                await self._containers.remove(self._named(_PROBE))
        return said

    @property
    def dedicates(self) -> bool:
        """Whether a container can be made for one job alone."""
        return True

    def make_for(self, job: str) -> None:
        """Label the next container with a job, and give it a folder that no other was given."""
        self._job = job
        self._folder = f"{_JOB}{secrets.token_hex(4)}" if job else _FOLDER

    def _named(self, name: str) -> str:
        return f"gai-{self._containers.tag}-{name}"

    def _spec(self, order: Order, name: str = _ENGINE) -> ContainerSpec:
        own = Mount(self.socket_folder(self._run), RUN, writable=True)
        return ContainerSpec(
            image=self.image,
            name=self._named(name),
            command=order.command,
            limits=order.limits,
            mounts=(own, *order.mounts),
            environment=order.environment,
            labels=(*self._containers.labels, *([(JOB_LABEL, self._job)] if self._job else [])),
            gpus=order.gpus,
            seccomp=self._seccomp,
            network=order.network,
        )

    def socket_folder(self, run: Path) -> Path:
        """Make the folder that is mounted; nobody but this user gets there."""
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.chmod(0o700)
        folder = run.absolute() / self._folder
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        return folder

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        """Start the container. Raises: EngineLost."""
        try:
            await self._have_image()
            argv = self.argv(what)
        except NotPossible as error:
            raise EngineLost(str(error)) from error
        child = await Child.start(argv, log, folder, on_line=on_line, hold_stdin=True)
        child.find(self._first_pid)
        return child

    async def _have_image(self) -> None:
        if self._again is None or await inspect(self.runtime, self.image) is not None:
            return
        _log.warning("image_gone", image=self.image)
        self.image, self._built = await self._again()

    async def _first_pid(self) -> int | None:
        """Find the engine's first process: only by it can the guard tell its others from a game's.

        Until something answers on the socket, and of a rank that never does, nothing else tells.
        """
        for seconds in _LOOKS:
            await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pid = await self._containers.first_pid(self._named(_ENGINE))
            if pid is not None:
                return pid
        _log.warning("container_pid_unknown", program=self.runtime.program)
        return None

    async def clear(self) -> None:
        """Remove every container of this folder, and folders of jobs. Raises: EngineLost."""
        try:
            removed = await self._containers.clear()
        except RuntimeBroken as error:
            raise EngineLost(str(error)) from error
        if removed:
            _log.info("containers_removed", number=removed)
        await asyncio.to_thread(self._clear_folders)

    def _clear_folders(self) -> None:
        for folder in self._run.glob(f"{_JOB}*"):
            if folder.name != self._folder:
                # Inside the engine was another user: a folder that it made here outlasts this.
                shutil.rmtree(folder, ignore_errors=True)


__all__ = ["ContainerLauncher"]
