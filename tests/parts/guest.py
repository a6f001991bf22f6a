"""An ordinary user of this machine with rootless Podman: whom a volunteer's agent runs as."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import psutil
from tests.parts.environments import kept
from tests.parts.hosts import run
from tests.parts.program import Program
from tests.parts.tree import ROOT
from tests.parts.waiting import eventually

from garage_ai.node.sandbox.containers import Containers

BASE = "localhost/gai-test-base:1"
WANTED = ("python3", "libgomp1", "libnuma1")


async def none_left(containers: Containers, seconds: float = 30.0) -> None:
    """Wait until nothing is left of a sandbox: a runtime clears up a little after the end."""
    async with asyncio.timeout(seconds):
        while await containers.list():  # noqa: ASYNC110 - no runtime tells when it has
            await asyncio.sleep(0.1)


PROBE = """
import asyncio, sys
import msgspec
from garage_ai.node.folder import NodeFolder
from garage_ai.node.sandbox.check import probe
from garage_ai.node.setup import sandbox_of
from pathlib import Path

async def main() -> None:
    launcher, engine = await sandbox_of(NodeFolder(Path(sys.argv[1])))
    print(msgspec.json.encode(await probe(launcher, engine, *sys.argv[2:])).decode())

asyncio.run(main())
"""
"""Lets the probe loose in the sandbox of the node in a folder, on the paths and places given."""

PIDS = """
import asyncio, json, os, sys
from pathlib import Path
import psutil
from garage_ai.node.guard.limits import Limits as OwnersLimits
from garage_ai.node.guard.readers.graphics import Graphics
from garage_ai.node.guard.readers.nvml import Card, GpuProcess
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.order import Order
from garage_ai.node.sandbox.spec import Limits

class Loading:
    def inside(self):
        # As a rank: it answers nobody, and who holds the card is a child of its first process.
        return Order(("sh", "-c", "sleep 600 & exec cat"), Limits(memory=1 << 28))

class Cards:
    pid = 0
    def look(self):
        return [Card("GPU-1", (GpuProcess(self.pid, 8_000_000_000),))]

async def main():
    folder, image = Path(sys.argv[1]), sys.argv[2]
    containers = Containers(await find_runtime("podman"), folder)
    launcher = ContainerLauncher(containers, image, folder / "run")
    log = BoundedLog(folder / "engine.log")
    child = await launcher.launch(Loading(), launcher.socket_folder(folder / "run"), log)
    cards = Cards()
    guard = Graphics(cards, lambda: child.pids)
    told = {}
    try:
        async with asyncio.timeout(60):
            while child.first_inside is None:
                await asyncio.sleep(0.1)
            while not (holders := psutil.Process(child.first_inside).children()):
                await asyncio.sleep(0.1)
        cards.pid = holders[0].pid
        told["engine"] = (await guard.read(OwnersLimits())).verdict
        told["descends"] = cards.pid in [e.pid for e in psutil.Process().children(recursive=True)]
        cards.pid = os.getppid()
        told["stranger"] = (await guard.read(OwnersLimits())).verdict
    finally:
        await child.stop()
        await launcher.clear()
        log.close()
    print(json.dumps(told))

asyncio.run(main())
"""
"""Asks the guard who holds a card: a process in a container of the folder and image given, and one
that is not ours."""


def debian() -> Path:
    """Give a Debian with what engines need of it as a tar file, which `podman import` takes.

    It is made if it is not there, and kept in the user's cache.
    """
    return kept("debian", ",".join(WANTED).encode(), _make_debian) / "debian.tar"


def _make_debian(home: Path) -> None:
    root, archive = home / "debian", home / "debian.tar"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    include = f"--include={','.join(WANTED)}"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", include, "bookworm", root, *mirror()],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    # The folders themselves stay: an image that is built on it may install more.
    skipped = ["./var/cache/*/*.*", "./var/cache/*/*/*", "./var/lib/apt/lists/*"]
    skipped += ["./usr/share/doc", "./usr/share/locale"]
    left_out = [f"--exclude={each}" for each in skipped]
    run("tar", "-C", str(root), *left_out, "-cf", str(archive), ".", seconds=300)
    shutil.rmtree(root)


def mirror() -> list[str]:
    """Name the Debian mirror this machine itself uses, if it says."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Codename: bookworm"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [next(line for line in listed.stdout.split() if "security" not in line)]


class Guest:
    """The user, what it can read of this checkout, and where it lives."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.home = folder / "home"
        self.node = self.home / "node"
        self.python = (
            folder
            / "python"
            / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
        )
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "USER": name,
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(folder / "runtime"),
            "PYTHONPATH": f"{folder / 'src'}:{folder / 'packages'}",
            # Its own library is named by a path that only root can walk.
            "LD_LIBRARY_PATH": str(folder / "python" / "lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }

    def words(self, argv: Sequence[str | Path]) -> list[str]:
        """Put before a command what makes it this user's."""
        become = ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups"]
        return [*become, "--", *(str(word) for word in argv)]

    def ask(
        self, *argv: str | Path, seconds: float = 120, stdin: BinaryIO | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, from its home."""
        return subprocess.run(
            self.words(argv),
            env=self.environment,
            cwd=self.home,
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def well(self, *argv: str | Path, seconds: float = 120, stdin: BinaryIO | None = None) -> str:
        """Run a command that must succeed, and give what it prints."""
        done = self.ask(*argv, seconds=seconds, stdin=stdin)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def gai(self, *words: str | Path) -> list[str | Path]:
        """Make a `gai` command of the user's."""
        return [self.python, "-P", "-m", "garage_ai.cli", *words]

    def start(self, name: str, *argv: str | Path) -> Program:
        """Start a program as the user; its output is in the user's home."""
        return Program(name, self.words(argv), self.home, self.environment)

    def containers(self) -> list[str]:
        """List the user's containers, running or not."""
        return self.well("podman", "ps", "--all", "--quiet").split()

    def inspected(self, container: str) -> dict[str, object]:
        """Give what podman knows of a container."""
        (found,) = json.loads(self.well("podman", "inspect", container))
        assert isinstance(found, dict)
        return found


@contextmanager
def guest(archive: Path | None) -> Iterator[Guest]:
    """Make the user, with a base image if one is given; it is gone at the end with all it had."""
    name = f"gai{os.getpid()}"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="gai-guest-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        user = Guest(name, folder)
        run("useradd", "--create-home", "--home-dir", str(user.home), "--shell", "/bin/sh", name)
        stack.callback(run, "userdel", name)
        entry = pwd.getpwnam(name)
        for private in (folder / "runtime", user.home):
            private.mkdir(mode=0o700, exist_ok=True)
            os.chown(private, entry.pw_uid, entry.pw_gid)
        for inside, source in _readable(folder):
            inside.mkdir()
            run("mount", "--bind", "-o", "ro", str(source), str(inside))
            stack.callback(run, "umount", "--lazy", str(inside))
        stack.callback(_end_all_of, entry.pw_uid)
        _share_layers(user)
        if archive is not None:
            with archive.open("rb") as image:
                user.well("podman", "import", "--quiet", "-", BASE, stdin=image)
        yield user


def _share_layers(user: Guest) -> None:
    """Have the user's podman lay images under containers, not copy them for each start.

    Debian's takes the copying way wherever /dev/fuse is root's alone.
    """
    path = user.home / ".config/containers/storage.conf"
    conf = '[storage]\ndriver = "overlay"\n'
    user.well("sh", "-c", f"mkdir -p {path.parent} && printf '%s' '{conf}' > {path}")


def _end_all_of(uid: int) -> None:
    """End what the user has running: rootless Podman keeps a process that holds its namespace."""
    # Again and again: what is ended may just have started another.
    eventually("the end of all that the user runs", lambda: not _ended(uid))


def _ended(uid: int) -> list[psutil.Process]:
    """Give what was found running, after its end."""
    mine = [each for each in psutil.process_iter() if _uid_of(each) == uid]
    for each in mine:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(mine, timeout=10)
    return mine


def _uid_of(process: psutil.Process) -> int | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.uids().real)
    return None


def _readable(folder: Path) -> list[tuple[Path, Path]]:
    """What the agent needs of this checkout, wherever it lies: the interpreter, packages, ours."""
    packages = next(Path(each) for each in site.getsitepackages() if Path(each).is_dir())
    return [
        (folder / "python", Path(sys.base_prefix)),
        (folder / "packages", packages),
        (folder / "src", ROOT / "src"),
    ]
