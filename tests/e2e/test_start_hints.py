from pathlib import Path

import pytest
from tests.parts.checkout import Checkout, Tools

# What start.sh may count on, besides the shell, on any system.
BASICS = ["cat", "cksum", "date", "dirname", "env", "grep", "id", "readlink", "sed", "sh", "uname"]

UV_LINE = 'curl -LsSf https://astral.sh/uv/install.sh | sh && export PATH="$HOME/.local/bin:$PATH"'


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout on a machine that has neither uv nor Python, nor a package manager we know."""
    checkout = Checkout(tmp_path / "garage", Tools(tmp_path / "bin"), uv=False)
    (checkout.tools.folder / "python3").unlink()
    for name in BASICS:
        checkout.tools.link(name, Path("/usr/bin", name))
    return checkout


def hint(checkout: Checkout, **extra: str) -> tuple[str, str]:
    """Start without anything to install with; give the one line, and all that was said."""
    env = checkout.environment(PATH=str(checkout.tools.folder), **extra)
    done = checkout.run(env=env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert not checkout.venv.exists()
    (line,) = [line.strip() for line in done.stderr.splitlines() if line.startswith("    ")]
    return line.removeprefix("sudo ").replace("&& sudo ", "&& "), done.stderr


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("apt-get", "apt-get update && apt-get install -y python3-venv libgomp1"),
        ("dnf", "dnf install -y python3 python3-pip libgomp"),
        ("pacman", "pacman -S --needed --noconfirm python gcc-libs"),
        ("zypper", "zypper --non-interactive install python311 libgomp1"),
    ],
)
def test_without_python_it_names_the_packages(checkout: Checkout, manager: str, line: str) -> None:
    """Each package manager gets the line its users would type."""
    checkout.tools.script(manager, "exit 1")
    assert hint(checkout)[0] == line


def test_without_a_known_package_manager_it_names_uv(checkout: Checkout) -> None:
    """uv installs anywhere, and brings its own Python."""
    assert hint(checkout)[0] == UV_LINE


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ("python3.12-venv", "apt-get update && apt-get install -y python3.12-venv libgomp1"),
        (
            "",
            UV_LINE,
        ),
    ],
)
def test_with_an_old_python_it_names_a_newer_one(checkout: Checkout, known: str, line: str) -> None:
    """Where the distribution has a newer Python beside the old one, that; otherwise uv."""
    checkout.tools.script("python3", "exit 3")
    checkout.tools.script("apt-get", "exit 1")
    checkout.tools.script("apt-cache", f'[ "$2" = "{known}" ]')
    assert hint(checkout)[0] == line


def test_a_newer_python_beside_an_old_one_only_lacks_venv(checkout: Checkout) -> None:
    """python3 is too old and python3.12 has no venv: only the latter is asked for."""
    checkout.tools.script("python3", "exit 3")
    checkout.tools.script("python3.12", "exit 4")
    checkout.tools.script("apt-get", "exit 1")
    assert hint(checkout)[0].startswith("apt-get update && apt-get install -y python3.12-venv")


def test_the_hint_speaks_swedish(checkout: Checkout) -> None:
    """A Swedish locale gets a Swedish sentence around the same line."""
    checkout.tools.script("apt-get", "exit 1")
    _, said = hint(checkout, LC_ALL="sv_SE.UTF-8")
    assert "Garage AI behöver Python 3.11" in said
    assert "Starta sedan igen." in said
