"""The containers of one node's folder: found by label, whoever started them, and removed."""

import hashlib
import os
from pathlib import Path
from typing import Final

from garage_ai.node.errors import RuntimeBroken
from garage_ai.node.sandbox.argv import program
from garage_ai.node.sandbox.command import Said, ask
from garage_ai.node.sandbox.spec import Runtime

NODE_LABEL: Final = "garage-ai.node"
FOLDER_LABEL: Final = "garage-ai.folder"
AGENT_LABEL: Final = "garage-ai.agent"
JOB_LABEL: Final = "garage-ai.job"
_TRIES: Final = 3


def tag_of(folder: Path) -> str:
    """Give the mark of a node's folder on what is its own in a runtime's store.

    Names and labels are seen by others on this PC; the path is the owner's.
    """
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


class Containers:
    """What runs, or has run and not been removed, for the node in `folder`.

    The agent holds the folder's lock, so what bears its label and is not the agent's own is left
    from one that died.
    """

    def __init__(self, runtime: Runtime, folder: Path, node: str = "") -> None:
        self.runtime = runtime
        self.tag = tag_of(folder)
        self._node = node

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What marks a container as this folder's, and says whose agent started it."""
        marks = ((FOLDER_LABEL, self.tag), (AGENT_LABEL, str(os.getpid())))
        return ((NODE_LABEL, self._node), *marks) if self._node else marks

    async def list(self) -> list[str]:
        """Give their ids, running or not. Raises: RuntimeBroken."""
        said = await ask(
            [
                *program(self.runtime),
                *("ps", "--all", "--quiet", "--no-trunc"),
                f"--filter=label={FOLDER_LABEL}={self.tag}",
            ]
        )
        if not said.well:
            raise RuntimeBroken(
                "{program} cannot list containers: {words}",
                program=self.runtime.program,
                words=said.words,
            )
        return said.out.split()

    async def first_pid(self, name: str) -> int | None:
        """Give a container's first process as this PC counts it; None while it has none."""
        form = "--format={{.State.Pid}}"
        try:
            said = await ask([*program(self.runtime), "container", "inspect", form, name])
        except RuntimeBroken:
            return None
        words = said.out.strip()
        # It says 0 of one that does not run yet, or no longer.
        return int(words) or None if said.well and words.isdigit() else None

    async def clear(self) -> int:
        """Remove them all, running or not, and tell how many there were. Raises: RuntimeBroken."""
        first = left = await self.list()
        for _ in range(_TRIES):
            if not left:
                return len(first)
            # One that ends by itself meanwhile makes this fail, so what is left decides.
            said = await self.remove(*left)
            left = await self.list()
        if left:
            raise RuntimeBroken(
                "{program} cannot remove a container: {words}",
                program=self.runtime.program,
                words=said.words,
            )
        return len(first)

    async def remove(self, *ids: str) -> Said:
        """Ask for some to be removed, by id or name, and give the answer. Raises: RuntimeBroken."""
        now = ["--time=1"] if self.runtime.program == "podman" else []
        return await ask([*program(self.runtime), "rm", "--force", *now, *ids])


__all__ = ["AGENT_LABEL", "FOLDER_LABEL", "JOB_LABEL", "NODE_LABEL", "Containers", "tag_of"]
