"""What stands in for vLLM: a real HTTP server on a unix socket, started by the same command.

`make_python` makes an executable that takes the two command lines which the Python of vLLM's
environment gets: `-c PROBE …`, answered from its settings, and `-m` vLLM's server or its command,
which say what vLLM 0.32 says while it loads, start a second process as vLLM does, and serve the
mock engine. As with vLLM, only the command's `serve` knows `--headless`, and then nothing listens.
Where it is told to, it loads only once the ranks have met as vLLM's do, at the first one's address.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.parts.tree import ROOT

from garage_ai.node.engines.vllm_options import COMMAND, SERVER

_STUB = """#!{python}
import sys
sys.path.insert(0, {root!r})
from tests.parts.fake_vllm import main
main({folder!r}, sys.argv[1:])
"""
MEET_SECONDS = 60.0
CPU: dict[str, Any] = {"version": "0.32.0", "device": "cpu", "cards": []}

# Recorded from vLLM 0.32.0 on a CPU; the two shards are put into the place of its one.
_BEGINS = (
    "(APIServer pid=1) INFO 11-25 13:43:53 [api_utils.py:286] non-default args: {}",
    "(EngineCore pid=2) INFO 11-25 13:45:17 [core.py:133] Initializing a V1 LLM engine (v0.32.0)",
    "(Worker pid=3) INFO 11-25 13:45:35 [cpu_model_runner.py:68] Starting to load model m...",
    "Loading safetensors checkpoint shards:   0% Completed | 0/2 [00:00<?, ?it/s]",
    "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00,  2.34it/s]",
)
_ENDS = (
    "Loading safetensors checkpoint shards: 100% Completed | 2/2 [00:00<00:00,  2.33it/s]",
    "(Worker pid=3) INFO 11-25 13:45:36 [default_loader.py:501] Loading weights took 0.43 seconds",
    "INFO:     Application startup complete.",
)
# In the words of its source (v1/worker/utils.py): what a card says that others use.
_FREE = (
    "ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less than desired GPU "
    "memory utilization (0.92, 21.7 GiB)."
)
_FAILS = (
    f"(EngineCore pid=2) ERROR 11-25 13:45:17 [core.py:900] {_FREE}",
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.",
)


def make_python(folder: Path, **settings: Any) -> Path:
    """Make the executable in `folder`; `tell` changes what it does from its next start on."""
    folder.mkdir(parents=True, exist_ok=True)
    tell(folder, **(CPU | settings))
    stub = folder / "python"
    stub.write_text(_STUB.format(python=sys.executable, root=str(ROOT), folder=str(folder)))
    stub.chmod(0o755)
    return stub


def tell(folder: Path, **settings: Any) -> None:
    """Change settings: the probe's answer, `fails` (loading ends badly).

    And `waits` (for `go`), `meets`, for ranks that have a network between them.
    """
    path = folder / "settings.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    # At once, for one that is started meanwhile.
    new = path.with_suffix(".new")
    new.write_text(json.dumps(before | settings))
    new.rename(path)


def started(folder: Path) -> dict[str, Any]:
    """Give argv, environment and process ids of the newest start."""
    found: dict[str, Any] = json.loads((folder / "started.json").read_text())
    return found


def go(folder: Path) -> None:
    """Let a server that `waits` load on."""
    (folder / "go").touch()


def main(home: str, argv: list[str]) -> None:
    """Be the Python of an environment with vLLM in it."""
    folder = Path(home)
    settings = json.loads((folder / "settings.json").read_text())
    if argv[0] == "-c":
        print(json.dumps({key: settings[key] for key in CPU}))
        return
    if argv[:3] == ["-m", COMMAND, "serve"]:
        _serve(folder, settings, argv[3:], headless="--headless" in argv)
    elif argv[:2] == ["-m", SERVER] and "--headless" not in argv:
        _serve(folder, settings, argv[2:])
    else:
        sys.exit(f"not what was expected: {argv}")


def _serve(
    folder: Path, settings: dict[str, Any], argv: list[str], *, headless: bool = False
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uds", type=Path, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--nnodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--master-addr")
    parser.add_argument("--master-port", type=int)
    options, _ = parser.parse_known_args(argv)
    core = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    told = {"argv": argv, "environment": dict(os.environ), "pid": os.getpid(), "core": core.pid}
    (folder / "new.json").write_text(json.dumps(told))
    (folder / "new.json").rename(folder / "started.json")
    _say(_BEGINS)
    if settings.get("fails"):
        _say((settings["fails"],) if isinstance(settings["fails"], str) else _FAILS)
        core.kill()
        sys.exit(1)
    while settings.get("waits") and not (folder / "go").exists():
        time.sleep(0.02)
    with contextlib.ExitStack() as links:
        if settings.get("meets") and options.nnodes > 1:
            _meet(options, links)
        _say(_ENDS[:-1])
        if headless:
            core.wait()
            return
        asyncio.run(_answer(options.uds, options.served_model_name, settings))


def _meet(options: argparse.Namespace, links: contextlib.ExitStack) -> None:
    """Have a link to each other rank, or to the first one; like vLLM's, nobody minds its end."""
    place = (options.master_addr, options.master_port)
    if options.node_rank == 0:
        server = links.enter_context(socket.create_server(place))
        for _ in range(1, options.nnodes):
            links.enter_context(server.accept()[0])
        return
    deadline = time.monotonic() + MEET_SECONDS
    while True:
        try:
            links.enter_context(socket.create_connection(place, timeout=1))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


async def _answer(socket: Path, name: str, settings: dict[str, Any]) -> None:
    async with MockEngine(Options(models=name, **settings.get("mock", {})), socket=socket):
        _say(_ENDS[-1:])
        await asyncio.Event().wait()


def _say(lines: tuple[str, ...]) -> None:
    print("\n".join(lines), flush=True)
