"""What stands in for llama-server on a card: its command line, its log, its own server behind it.

While it loads it says what `llama-server` was recorded to say (tests/recorded/llama_server); then
it serves with xllamacpp, which is llama.cpp's own server in a process: what it answers is real.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.tree import ROOT

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import OnLine, Startable
from garage_ai.node.engines.llama_server import PROGRAM
from garage_ai.node.engines.port import Fence
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.order import RUN

RECORDED = ROOT / "tests" / "recorded" / "llama_server"
LISTENING = "listening on"
SPEAK = "speak"
"""The file that has it say something at work."""


@dataclass
class StandInLauncher:
    """Starts what would be started in a container, with paths of this PC for those inside."""

    script: Path
    started: int = 0
    fence = Fence("podman", limits=True)

    def socket_folder(self, run: Path) -> Path:
        """Give the run folder itself."""
        run.mkdir(parents=True, exist_ok=True)
        return run.absolute()

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        """Start the process."""
        self.started += 1
        order = what.inside()
        outside = {PROGRAM: str(self.script)} | {
            mount.target: str(mount.source) for mount in order.mounts
        }
        argv = [outside.get(word, word).replace(RUN, str(folder)) for word in order.command]
        return await Child.start(argv, log, folder, on_line=on_line, hold_stdin=True)

    async def clear(self) -> None:
        """Do nothing: there is no container."""


def make_server(folder: Path, **settings: Any) -> Path:
    """Make the executable in `folder`; `tell` changes what it does from its next start on."""
    folder.mkdir(parents=True, exist_ok=True)
    tell(folder, **settings)
    script = folder / "llama-server"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.parts.fake_llama_server import main\nmain({str(folder)!r}, sys.argv[1:])\n"
    )
    script.chmod(0o755)
    return script


def tell(folder: Path, **settings: Any) -> None:
    """Say what it does: which recording it says, with what status it ends instead of serving."""
    # At once, for one that is started meanwhile.
    (folder / "settings.new").write_text(json.dumps(settings))
    (folder / "settings.new").rename(folder / "settings.json")


def main(folder: str, argv: Sequence[str]) -> None:
    """Load and serve, as told."""
    settings = json.loads((Path(folder) / "settings.json").read_text())
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option in ("--model", "--alias", "--host", "--ctx-size", "--parallel", "--threads"):
        parser.add_argument(option, required=True)
    options, _ = parser.parse_known_args(argv)
    for line in (RECORDED / f"{settings['says']}.txt").read_text().splitlines():
        if LISTENING in line:
            break
        say(line)
    for line in settings.get("then", ()):
        say(line)
    if "ends" in settings:
        sys.exit(settings["ends"])
    serve(options)
    while not (Path(folder) / SPEAK).exists():
        time.sleep(0.05)
    say("0.45.026.205 I slot print_timing: a line that quotes a secret")
    say("0.45.026.206 E srv    operator(): an error")
    time.sleep(3600)


def serve(options: argparse.Namespace) -> None:
    """Serve from a thread of llama.cpp's own, in a process of the socket's folder."""
    import os

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    socket = Path(options.host)
    os.chdir(socket.parent)
    params.hostnames = [f"./{socket.name}"]
    params.n_parallel = int(options.parallel)
    params.n_ctx = int(options.ctx_size)
    params.cpuparams.n_threads = int(options.threads)
    params.verbosity = 1
    global _server  # noqa: PLW0603 - it serves as long as it is held
    _server = xllamacpp.Server(params)


_server: Any = None


def say(line: str) -> None:
    """Print a line of the log."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
