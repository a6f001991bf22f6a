"""A volunteer's side in processes of its own: a mock engine, and the node that lends it."""

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.http_caller import Caller
from tests.parts.product import Product
from tests.parts.program import GAI, Program, at_home
from tests.parts.tree import ROOT
from tests.parts.waiting import eventually

MODEL = "mock"


class Engine:
    """A mock engine that can be given faults, be killed and come back on the same port."""

    def __init__(self, folder: Path, *options: str, before: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.options = options
        self._before = before
        self.port = 0
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """Its base URL with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def program(self) -> Program:
        """The running engine."""
        if self._program is None:
            raise AssertionError("it was not started")
        return self._program

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [*self._before, sys.executable, "-m", "bench.mock_engine", "--port", str(self.port)]
        environment = at_home(self.folder, PYTHONPATH=str(ROOT))
        self._program = Program("engine", [*argv, *self.options], self.folder, environment)
        line = eventually("the engine", lambda: self.program.line("listening"))
        self.port = int(line.split()[1])

    def stop(self) -> None:
        """End it."""
        if self._program is not None:
            self._program.stop()

    def set(self, **options: object) -> None:
        """Change what it does from the next request on."""
        answer = self._ask("POST", "/mock/options", options)
        assert options.items() <= answer.items(), answer

    def reset(self) -> None:
        """Let it do what it was started to do, and count from zero."""
        answer = self._ask("GET", "/mock/options")
        faults = {name: None for name, value in answer.items() if name.endswith("_after")}
        plain: dict[str, object] = dict.fromkeys(("no_done", "bad_json", "early_head"), False)
        plain["fail_status"] = 500
        counts = dict.fromkeys(("oversized_event", "huge_body", "fail_every", "slots"), 0)
        pace = {"chunks": 32, "batch": 1, "first_byte_delay": 0.0, "chunk_delay": 0.0}
        self.set(**faults, **plain, **counts, **pace, models=MODEL)
        self._ask("POST", "/mock/reset")

    def state(self) -> dict[str, int]:
        """Tell what it is doing and has done."""
        return self._ask("GET", "/mock/state")

    def last(self) -> dict[str, Any]:
        """Give the newest request as it arrived: line, headers, body."""
        return self._ask("GET", "/mock/last")

    def is_idle(self) -> bool:
        """Tell whether every slot is free."""
        state = self.state()
        return state["running"] == state["waiting"] == 0

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        found: dict[str, Any] = Caller(self.url, "").ask(method, path, body).json()
        return found


class Node:
    """A node that lends an engine: `gai node join` first, `gai node run` from then on.

    Without one it runs llama.cpp itself, bare: the sandbox is tried elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        product: Product,
        engine: Engine | None,
        *,
        gateway: str | None = None,
        slots: int = 8,
        model: str = MODEL,
        environment: Mapping[str, str] | None = None,
        before: tuple[str, ...] = (),
        name: str = "node",
    ) -> None:
        self.name = name
        self.folder = folder
        self.data = folder / "node"
        self.product = product
        self.gateway = gateway or product.url
        self.environment = at_home(folder, **(environment or {}))
        self._before = before
        self.model = model
        self._bare = engine is None
        lends = ["--engine", "external", "--engine-url", engine.url] if engine else []
        runs = ["--engine", "llamacpp", "--sandbox", "none"]
        self._options = [*(lends or runs), "--model", model]
        self._options += ["--slots", str(slots), "--data-dir", str(self.data)]
        self._program: Program | None = None

    @property
    def program(self) -> Program:
        """The running agent."""
        if self._program is None:
            raise AssertionError("it was not started")
        return self._program

    @property
    def id(self) -> str:
        """The id it got at enrolment; empty before."""
        path = self.data / "identity.json"
        return str(json.loads(path.read_text("utf-8"))["node"]) if path.exists() else ""

    @property
    def seen(self) -> dict[str, Any]:
        """How the network sees it; nothing when it does not know it."""
        name = self.id
        return next((node for node in self.product.nodes() if node["id"] == name), {})

    def dials(self, *urls: str) -> None:
        """Let it dial other addresses of NATS from its next start on."""
        path = self.data / "identity.json"
        record = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(record | {"urls": urls}), "utf-8")

    def join(self, token: str | None = None) -> None:
        """Enrol it and serve."""
        token = token or self.product.token(bare_allowed=self._bare)
        self._run("join", self.gateway, token, *self._options)

    def run(self, *options: str) -> None:
        """Serve again with the identity it has."""
        self._run("run", *self._options, *options)

    def _run(self, *arguments: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        argv: list[str | Path] = [*self._before, GAI, "node", *arguments]
        self._program = Program(self.name, argv, self.folder, self.environment)

    def serving(self, seconds: float = 40.0) -> None:
        """Wait until it is in choice and its model is served."""
        try:
            eventually("a node that is ready", lambda: self.seen.get("state") == "ready", seconds)
            self.product.serves(self.model, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.program.tail()}") from None

    def ends(self, seconds: float = 30.0) -> int:
        """Wait until it has ended by itself, and give its exit status."""
        eventually("the agent's end", lambda: self.program.ended is not None, seconds)
        return int(self.program.ended or 0)

    def stop(self) -> int:
        """End it as its owner does and give its exit status."""
        return self._program.stop() if self._program is not None else 0

    def end(self) -> None:
        """End it at once, whatever it does."""
        if self._program is not None:
            self._program.end_all()


@dataclass(frozen=True)
class Lent:
    """A network, a volunteer's node in it, and the mock engine that the node lends."""

    product: Product
    node: Node
    engine: Engine

    @property
    def http(self) -> Caller:
        """A client with the operator's key."""
        return self.product.http


def lend(
    product: Product,
    folder: Path,
    stack: ExitStack,
    *,
    slots: int = 8,
    environment: Mapping[str, str] | None = None,
    before: tuple[str, ...] = (),
) -> Lent:
    """Let a volunteer join a network with a mock engine; `stack` takes all of it away again."""
    engine = Engine(folder / "engine", before=before)
    stack.callback(engine.stop)
    engine.start()
    node = Node(
        folder / "volunteer", product, engine, slots=slots, environment=environment, before=before
    )
    lent = Lent(product, node, engine)
    stack.callback(_leave, lent)
    node.join()
    node.serving()
    return lent


def _leave(lent: Lent) -> None:
    name = lent.node.id
    try:
        lent.node.stop()
    finally:
        if name and lent.product.is_up:
            lent.http.ask("DELETE", f"/api/v1/nodes/{name}")
