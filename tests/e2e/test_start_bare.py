import contextlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts.registries import authorities
from tests.parts.tree import copy_tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

CHECKOUT = "srv/my garage"
PROXIES = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]


class Bare:
    """A Debian with python3 and nothing else, entered with chroot."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the checkout."""
        return subprocess.run(
            ["chroot", self.root, "sh", "-c", f"cd '/{CHECKOUT}' && {command}"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start start.sh, which becomes `gai up`; whatever happens, it is gone at the end."""
        with subprocess.Popen(
            ["chroot", self.root, f"/{CHECKOUT}/start.sh", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def the_line(told: subprocess.CompletedProcess[str]) -> str:
    """Find the one line to type in what start.sh said."""
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("    ")]
    return line.strip()


def until_ready(network: subprocess.Popen[str]) -> list[str]:
    """Read what `gai up` prints, up to the line that begins with `ready`."""
    lines: list[str] = []
    for line in network.stdout or ():
        lines.append(line)
        if line.startswith("ready"):
            return lines
    raise AssertionError(f"the network ended before it was ready: {lines}")


def mirror() -> str:
    """Name the Debian mirror this machine itself uses."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return next(line for line in listed.stdout.splitlines() if "security" not in line)


def carry_registry_settings(bare: Bare) -> None:
    """Let the bare system reach the package registries as this machine does."""
    shutil.copy("/etc/resolv.conf", bare.root / "etc/resolv.conf")
    bare.environment |= {name: os.environ[name] for name in PROXIES if name in os.environ}
    if index := os.environ.get("PIP_INDEX_URL"):
        bare.environment["PIP_INDEX_URL"] = index
    shutil.copy(authorities(), bare.root / "srv/authorities.crt")
    bare.environment["PIP_CERT"] = "/srv/authorities.crt"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """Make the smallest Debian 12 that has a python3, with a checkout on it."""
    root = tmp_path_factory.mktemp("debian") / "root"
    options = ["--variant=minbase", "--include=python3"]
    subprocess.run(
        ["debootstrap", *options, "bookworm", root, mirror()],
        capture_output=True,
        timeout=600,
        check=True,
    )
    bare = Bare(root)
    copy_tree(root / CHECKOUT)
    carry_registry_settings(bare)
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], timeout=60, check=True)
    yield bare
    subprocess.run(["umount", root / "proc"], timeout=60, check=True)
    shutil.rmtree(root)


def test_a_bare_debian_is_told_the_one_line_and_then_it_works(bare: Bare) -> None:
    """Without venv and pip: exit 1 and one line; typed as printed, the next start installs."""
    first = bare.run("./start.sh")
    assert (first.returncode, first.stdout) == (1, "")
    line = the_line(first)
    assert line == "apt-get update && apt-get install -y python3-venv libgomp1"
    assert not (bare.root / CHECKOUT / ".venv").exists()

    installed = bare.run(line)
    assert installed.returncode == 0, installed.stderr

    second = bare.run("./start.sh --help")
    assert second.returncode == 0, second.stderr
    assert "[4/4] Installing Garage AI ... done" in second.stderr


def test_a_real_model_answers_on_a_bare_debian(bare: Bare) -> None:
    """The newcomer's whole way there: start, wait for `ready`, paste the curl, stop."""
    told = bare.run("./start.sh --help")
    if told.returncode:
        assert bare.run(the_line(told)).returncode == 0
    with bare.started("--port", "0", "--nats-port", "0") as network:
        lines = until_ready(network)
        curl = shlex.split(next(line for line in lines if line.startswith("curl ")))
        answer = subprocess.run(curl, capture_output=True, timeout=60, check=True)
        assert json.loads(answer.stdout)["choices"][0]["message"]["content"]
        network.terminate()
        assert network.wait(timeout=35) == 0
