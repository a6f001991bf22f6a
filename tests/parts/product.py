"""The installed product, started, asked and hurt from outside: `gai up` in a process of its own."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import openai
import psutil
from bench.processes import free_ports
from tests.parts.http_caller import Caller
from tests.parts.program import GAI, Program, at_home
from tests.parts.tree import ROOT
from tests.parts.waiting import InVain, eventually

from garage_ai.local.processes import is_alive, read_child, read_up

START = ROOT / "start.sh"
REAL = "garage-chat"

Part = Literal["supervisor", "nats", "gateway", "agent", "engine"]

_RECORDS: dict[Part, str] = {"nats": "nats", "gateway": "gateway", "agent": "node"}


class Product:
    """One `gai up`, with its own home; it keeps its data and its ports over restarts."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        command: Sequence[str | Path] = (GAI, "up"),
        environment: Mapping[str, str] | None = None,
        data: Path | None = None,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.data = data or folder / "network"
        self.port = free_ports(3)
        self.nats_port = self.port + 1
        self.environment = at_home(self.home, **(environment or {}))
        self.options = options
        self.ready_after = 0.0
        self._command = command
        self._program: Program | None = None

    # --- life

    def start(self, seconds: float = 60.0) -> None:
        """Start it and wait for its line `ready`; fails with what it said instead."""
        began = time.monotonic()
        argv = [*self._command, "--port", str(self.port), "--nats-port", str(self.nats_port)]
        argv += ["--data-dir", self.data, *self.options]
        self._program = Program("gai-up", argv, self.folder, self.environment)
        try:
            eventually("the line `ready`", lambda: self.program.line("ready"), seconds)
        except AssertionError as error:
            story = self.story()
            self.program.end_all()
            raise AssertionError(f"{error}\n{story}") from None
        self.ready_after = time.monotonic() - began

    def stop(self) -> int:
        """End it as its owner does, see that nothing of it is left, and give its exit status."""
        if self._program is None:
            return 0
        program, self._program = self._program, None
        story = self.story()
        for each in program.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()
        try:
            status = program.process.returncode
            if status is None:
                program.signal(signal.SIGTERM)
                status = program.process.wait(60)
            eventually("the end of all its processes", lambda: not program.family())
        except Exception as error:
            raise AssertionError(f"{error}\n{story}") from None
        finally:
            program.end_all()
        return status

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._program is not None and self._program.ended is None

    @property
    def program(self) -> Program:
        """The running `gai up`."""
        if self._program is None:
            raise AssertionError("it was not started")
        return self._program

    def story(self) -> str:
        """What it printed and the ends of its logs, to read when a test failed."""
        parts = [self._program.tail()] if self._program else []
        for log in sorted((self.data / "logs").glob("*.log")):
            parts.append("\n".join([f"--- {log.name}", *self.log(log.stem).splitlines()[-20:]]))
        return "\n".join(parts)

    def log(self, name: str) -> str:
        """What one of its processes wrote."""
        path = self.data / "logs" / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    # --- how it is asked

    @property
    def url(self) -> str:
        """Its base URL, without /v1."""
        record = read_up(self.data / "run" / "up.json")
        return record.url if record else f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The operator's key."""
        return (self.data / "admin.key").read_text("ascii").strip()

    @property
    def http(self) -> Caller:
        """A client that sees everything, with the operator's key."""
        return Caller(self.url, self.key, ca=self._ca)

    def client(self, key: str | None = None, **options: Any) -> openai.OpenAI:
        """The official client; it tries nothing twice."""
        if self._ca is not None:
            trusts = ssl.create_default_context(cafile=self._ca)
            options["http_client"] = openai.DefaultHttpxClient(verify=trusts)
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0, **options
        )

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """The official client for asyncio; it tries nothing twice."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, **options
        )

    @property
    def _ca(self) -> str | None:
        record = read_up(self.data / "run" / "up.json")
        return record.ca if record else None

    def nodes(self) -> list[dict[str, Any]]:
        """List the nodes."""
        found: list[dict[str, Any]] = self.http.get("/api/v1/nodes").json()["data"]
        return found

    def token(self, **asked: object) -> str:
        """Make an enrolment token."""
        made = self.http.ask("POST", "/api/v1/tokens", asked)
        assert made.status == 201, made.body
        return str(made.json()["token"])

    def new_key(self, **asked: object) -> dict[str, Any]:
        """Make a key; its secret is under `key`."""
        made = self.http.ask("POST", "/api/v1/keys", {"name": "test"} | asked)
        assert made.status == 201, made.body
        key: dict[str, Any] = made.json()
        return key

    def gai(self, *arguments: str) -> Any:
        """Run a command as its owner, and give what it printed as JSON."""
        done = subprocess.run(
            [GAI, *arguments, "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def records(self, key_id: str | None = None) -> list[dict[str, Any]]:
        """List the newest usage records; of one key if it is named."""
        found = self.http.get("/api/v1/usage?limit=1000").json()["records"]
        return [each for each in found if key_id in (None, each["key_id"])]

    def serves(self, model: str = REAL, seconds: float = 60.0) -> float:
        """Wait until a chat with a model succeeds, and tell how many seconds that took."""
        began = time.monotonic()
        answers: list[object] = []

        def answered() -> bool:
            try:
                answer = self.http.chat(model, max_tokens=1)
            except OSError as error:
                answers.append(error)
                return False
            answers.append(answer.body[:200])
            return answer.status == 200

        try:
            eventually(f"an answer of {model}", answered, seconds)
        except InVain as error:
            raise InVain(f"{error}\n{answers[-1]}\n{self.story()}") from None
        return time.monotonic() - began

    # --- how it is hurt

    def pid(self, part: Part) -> int | None:
        """Tell the process of a part; None while there is none."""
        if part == "supervisor":
            return self.program.pid
        if part == "engine":
            agent = self.pid("agent")
            return _only_child(agent) if agent is not None else None
        record = read_child(self.data / "run" / f"{_RECORDS[part]}.json")
        return record.process.pid if record and is_alive(record.process) else None

    def send(self, part: Part, what: signal.Signals) -> int:
        """Send a part a signal and give its pid."""
        self.program.family()
        pid = eventually(f"a process of {part}", lambda: self.pid(part) or 0)
        os.kill(pid, what)
        return pid

    def kill(self, part: Part) -> int:
        """Kill -9 a part, as a crash would, and give the pid it had."""
        return self.send(part, signal.SIGKILL)

    def again(self, part: Part, before: int, seconds: float = 60.0) -> int:
        """Wait until a part that was killed has another process, and give its pid."""

        def other() -> int:
            now = self.pid(part)
            return now if now is not None and now != before else 0

        return eventually(f"another process of {part}", other, seconds)


def _only_child(pid: int) -> int | None:
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return None
    return children[0].pid if children else None
