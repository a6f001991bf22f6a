"""A Docker of the tests' own: a real daemon, its store and socket in a folder that goes with it."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.program import Program
from tests.parts.waiting import eventually

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Daemon:
    """What is asked of the daemon behind the product's back."""

    def __init__(self, folder: Path) -> None:
        self.host = f"unix://{folder}/docker.sock"

    def ask(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of docker's."""
        return subprocess.run(
            ["docker", *map(str, words)],
            env={"PATH": _PATH, "HOME": "/root", "DOCKER_HOST": self.host},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def well(self, *words: str | Path) -> str:
        """Run a command that must succeed, and give what it prints."""
        done = self.ask(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self) -> list[str]:
        """List the containers, running or not."""
        return self.well("ps", "--all", "--quiet", "--no-trunc").split()

    def host_config(self, container: str) -> dict[str, object]:
        """Give what the daemon was told of a container and its place on this machine."""
        (found,) = json.loads(self.well("inspect", container))
        told: dict[str, object] = found["HostConfig"]
        return told


@contextmanager
def docker_daemon(group: str) -> Iterator[Daemon]:
    """Run one whose socket is open to a group, as Docker's own is to `docker`.

    It makes no bridge and touches no firewall: containers of a sandbox have no network.
    """
    # A socket's path is short, and the store is on a disk: overlays do not lie on overlays.
    folder = Path(tempfile.mkdtemp(prefix="gai-docker-", dir="/var/tmp"))
    folder.chmod(0o755)
    daemon = Daemon(folder)
    argv = ["dockerd", "--host", daemon.host, "--group", group]
    argv += [f"--{name}={folder / name}" for name in ("data-root", "exec-root", "pidfile")]
    argv += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    program = Program("dockerd", argv, folder, {"PATH": _PATH})
    try:
        eventually("the daemon's answer", lambda: daemon.ask("version").returncode == 0, 60)
        yield daemon
    finally:
        program.stop(30)
        shutil.rmtree(folder)
