"""The real LiteLLM proxy, as `gai litellm` runs it in front of a network.

Its environment is made once (750 MB) and kept in the user's cache under the hash of its lock.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import openai
from bench.litellm_proxy import environments
from bench.processes import free_ports
from tests.parts.product import Product
from tests.parts.program import GAI, Program
from tests.parts.waiting import eventually

START_SECONDS = 300.0
STOP_SECONDS = 45.0


class LiteLlm:
    """One `gai litellm` in front of a product; it keeps its folder and its port over restarts."""

    def __init__(self, product: Product, folder: Path) -> None:
        self.product = product
        self.folder = folder
        self.port = free_ports()
        self._program: Program | None = None

    def start(self) -> None:
        """Start it and wait for its line `ready`."""
        argv: list[str | Path] = [GAI, "litellm", "--port", str(self.port)]
        argv += ["--environment", environments(), "--data-dir", self.product.data]
        self.folder.mkdir(parents=True, exist_ok=True)
        # uv, which the tests have beside them, installs in a fraction of pip's time.
        path = f"{GAI.parent}{os.pathsep}{os.environ['PATH']}"
        environment = self.product.environment | {"PATH": path}
        self._program = Program("litellm", argv, self.folder, environment)
        program = self._program
        eventually("LiteLLM", lambda: program.line("ready"), START_SECONDS)

    def stop(self) -> int:
        """End it as its owner does."""
        return self._program.stop(STOP_SECONDS) if self._program is not None else 0

    def kill(self) -> None:
        """Kill -9 all of it."""
        assert self._program is not None
        self._program.end_all()

    @property
    def home(self) -> Path:
        """What it keeps."""
        return self.product.data / "litellm"

    @property
    def output(self) -> str:
        """What `gai litellm` printed."""
        return self._program.output() if self._program is not None else ""

    @property
    def key(self) -> str:
        """The proxy's master key."""
        return (self.home / "master.key").read_text("ascii").strip()

    @property
    def proxy_key(self) -> str:
        """The key that the proxy has at the gateway."""
        return str(json.loads((self.home / "gateway.key").read_text())["key"])

    def client(self, **options: Any) -> openai.OpenAI:
        """The official client; it tries nothing twice."""
        url = f"http://127.0.0.1:{self.port}/v1"
        return openai.OpenAI(base_url=url, api_key=self.key, max_retries=0, **options)

    def spooled(self) -> list[Path]:
        """List what is not told yet."""
        return list((self.home / "spool").glob("p*/*.group"))

    def reconcile(self, *options: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        """Compare both sides up to now: exit status, counts, differences."""
        until = ("--until", "2099-01-01T00:00:00Z") if "--until" not in options else ()
        done = subprocess.run(
            [GAI, "usage", "reconcile", "--json", *until, *options],
            env=self.product.environment | {"GAI_DATA_DIR": str(self.product.data)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        *differences, summary = map(json.loads, done.stdout.splitlines())
        return done.returncode, summary["counts"], differences


__all__ = ["LiteLlm"]
