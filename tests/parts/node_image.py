"""The node's image, built and run as its page says; Podman stands in for Docker."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.parts.guest import BASE
from tests.parts.hosts import Host
from tests.parts.program import Program
from tests.parts.registries import authorities, pip_settings
from tests.parts.tree import ROOT

IMAGE = "localhost/garage-ai-node:test"
USER, ENGINE = 60_900, 61_001
"""Ids of the agent and of its engine, as this machine sees them."""

PAGE = ROOT / "docs/node/container.md"
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'

# This process may hand no more open files and processes to a container than it has itself.
_ULIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]


def documented(page: Path = PAGE) -> list[str]:
    """Give the words of the page's `docker run`, up to the name of the image."""
    text = page.read_text().replace("\\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("docker run "))
    words = shlex.split(line)
    return words[2 : words.index("garage-ai-node")]


def podman() -> list[str]:
    """Begin a command: crun cannot place containers where old and new cgroups are both mounted."""
    both = Path("/sys/fs/cgroup/unified").is_dir() and shutil.which("runc")
    return ["podman", *(["--runtime", "runc"] if both else [])]


class NodeImage:
    """One volunteer's container, by name, and the volume that outlives it."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.name = f"gai-node-{os.getpid()}"
        self._options = [*self._translated(), f"--network=ns:/run/netns/{host.name}", *_ULIMITS]

    def _translated(self) -> Iterator[str]:
        """Say in Podman's words what the page says in Docker's."""
        for word in documented():
            if word == "-it":
                yield "--interactive"
            elif word == "8g":
                # As much as the page gives would take long to use up.
                yield "1500m"
            elif word == "systempaths=unconfined":
                yield "unmask=ALL"
            elif word.startswith("garage-ai-node:"):
                yield word.replace("garage-ai-node", self.name)
            elif word.startswith("seccomp="):
                yield f"seccomp={ROOT / word.removeprefix('seccomp=')}"
            else:
                yield word

    def argv(self, *words: str, options: Sequence[str] = ()) -> list[str]:
        """Make the command that runs the image."""
        return [*podman(), "run", f"--name={self.name}", *self._options, *options, IMAGE, *words]

    def start(self, *words: str) -> Program:
        """Run it with the agent inside."""
        return Program("node-image", self.argv(*words), self.folder, dict(os.environ))

    def well(self, *words: str, options: Sequence[str] = (), stdin: Path | None = None) -> str:
        """Run it to its end, which must be a good one."""
        with (stdin or Path("/dev/null")).open("rb") as given:
            return done(self.argv(*words, options=options), stdin=given)

    def inside(self, *words: str) -> str:
        """Run a command beside the agent; it must succeed."""
        return done([*podman(), "exec", self.name, *words])

    def kill(self) -> None:
        """End everything in it at once."""
        done([*podman(), "kill", "--signal=KILL", self.name])

    @property
    def runs(self) -> bool:
        """Whether the container is there."""
        return self.name in done([*podman(), "ps", "--all", "--format={{.Names}}"]).split()

    def processes(self) -> list[psutil.Process]:
        """List what runs of it on this machine, by user."""
        found = []
        for each in psutil.process_iter():
            try:
                if each.uids().real in (USER, ENGINE) and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
            except psutil.Error:
                continue
        return found

    def remove(self) -> None:
        """Remove container and volume."""
        done([*podman(), "rm", "--force", "--ignore", "--time=0", self.name])
        done([*podman(), "volume", "rm", "--force", self.name])


def done(argv: Sequence[str | Path], seconds: float = 300, **how: object) -> str:
    """Run a command to its end and give what it prints; it must succeed."""
    ended = subprocess.run(  # type: ignore[call-overload]
        argv, capture_output=True, text=True, timeout=seconds, check=False, **how
    )
    assert ended.returncode == 0, f"{argv}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    return str(ended.stdout)


@contextmanager
def storage(folder: Path, archive: Path) -> Iterator[None]:
    """Give root's Podman a storage with a Debian of the test's, which is gone at the end."""
    settings = folder / "storage.conf"
    settings.write_text(STORAGE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(settings))
        try:
            done(["podman", "import", "--quiet", archive, BASE])
            yield
        finally:
            subprocess.run(["podman", "rmi", "--all", "--force"], capture_output=True, check=False)
            subprocess.run(["umount", folder / "graph/overlay"], capture_output=True, check=False)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def node_image(folder: Path, archive: Path) -> Iterator[None]:
    """Build the image on a Debian of the test's, in a storage that is gone at the end."""
    trusted = "/srv/authorities.crt"
    pip = pip_settings(folder, trusted)
    mounts = [f"--volume={pip}:/etc/pip.conf:ro", f"--volume={authorities()}:{trusted}:ro"]
    file = ROOT / "containers/node/Containerfile"
    build = [*podman(), "build", "--quiet", "--network=host", "--pull=never", *_ULIMITS, *mounts]
    build += [f"--build-arg=BASE={BASE}", f"--file={file}", f"--tag={IMAGE}", str(ROOT)]
    with storage(folder, archive):
        done(build, seconds=500)
        yield
