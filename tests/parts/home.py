"""A volunteer's PC, joined to a real gateway's books, with the commands that are typed there."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.mock_engine import MockEngine
from tests.parts.edge import Edge
from tests.parts.job_caller import until
from tests.parts.program import GAI, Program, at_home

from garage_ai.node.folder import NodeFolder
from garage_ai.wire.ids import NodeId


class Home:
    """A volunteer's PC: its folder, and the commands typed there."""

    def __init__(
        self, path: Path, edge: Edge, mock: MockEngine, *, inside: Sequence[str] = ()
    ) -> None:
        """Commands are typed behind the words of `inside`, as in another namespace."""
        path.mkdir(parents=True, exist_ok=True)
        self._inside = inside
        self.path = path
        self.folder = NodeFolder(path / "node")
        self.edge = edge
        self.engine = ["--engine", "external", "--engine-url", mock.url, "--model", "mock"]
        self._programs: list[Program] = []

    async def join(self, *options: str) -> Program:
        """Type `gai node join`."""
        made = await self.edge.services.tokens.create()
        assert made.secret is not None
        return self.start("join", self.edge.url, made.secret, *self.engine, *options)

    def start(self, *argv: str, home: dict[str, str] | None = None) -> Program:
        """Type a command of `gai node` that stays in the foreground."""
        program = Program(
            f"node-{len(self._programs)}",
            [*self._inside, GAI, "node", *argv, "--data-dir", self.folder.path],
            self.path,
            at_home(self.path, **(home or {})),
        )
        self._programs.append(program)
        return program

    async def type(self, *argv: str) -> tuple[int, str]:
        """Type a command and wait for its end; give status and what it said."""
        program = self.start(*argv)
        await until(lambda: program.ended is not None, 30)
        return program.process.returncode, program.output()

    async def status(self) -> dict[str, object]:
        """Ask the agent how it is."""
        code, said = await self.type("status", "--json")
        assert code == 0, said
        status: dict[str, object] = json.loads(said)
        return status

    async def node(self) -> NodeId:
        """Wait until it is enrolled, and say as what."""
        await until((self.folder.path / "node.jwt").exists, 30)
        return self.folder.load().node

    def stop(self) -> None:
        """End all that was started here."""
        for program in self._programs:
            program.stop()


__all__ = ["Home"]
