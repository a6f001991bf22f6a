import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.parts.tree import ROOT, tree

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
# vLLM, LiteLLM and the S3 server have environments of their own, and versions of their own.
MIXED = [lock for lock in LOCKS if lock.stem not in ("litellm", "s3", "vllm")]
# In two pieces, so that this file does not name them either.
INDEX_HOSTS = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry." + "npmjs",
    "deb." + "debian",
]
REQUIREMENT = re.compile(
    r"^([a-z0-9-]+)==([^ ]+)(?: ; [^\\]+)? \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.M
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(lock: Path) -> dict[str, str]:
    return {name: version for name, version, _ in REQUIREMENT.findall(lock.read_text())}


def named(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    names = {match[0].lower().replace("_", "-") for match in found if match}
    return names - {PROJECT["name"]}


def test_no_file_names_a_package_index() -> None:
    """Whoever installs chooses the index; no file of the tree decides it for them."""
    hits = []
    for path in tree():
        text = (ROOT / path).read_bytes().decode(errors="replace")
        hits += [f"{path}: {host}" for host in INDEX_HOSTS if host in text]
    assert hits == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_lock_is_nothing_but_pins_and_hashes(lock: Path) -> None:
    """A lock holds exact versions with sha256 hashes: no URL, no path, no option."""
    text = lock.read_text()
    assert REQUIREMENT.sub("", text) == ""
    hashes = re.findall(r"--hash=(\S+)", text)
    assert [found for found in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", found)] == []


@pytest.mark.parametrize("lock", MIXED, ids=lambda lock: lock.stem)
def test_locks_agree(lock: Path) -> None:
    """A package has one version in all locks, so that sets can be mixed in one environment."""
    dev = pins(ROOT / "requirements/dev.lock") | pins(ROOT / "requirements/model.lock")
    assert pins(lock).items() <= dev.items()


def test_locks_hold_what_the_project_asks_for() -> None:
    """A dependency added to pyproject.toml without `requirements/update.sh` is noticed here."""
    extras = PROJECT["optional-dependencies"]
    base = named(PROJECT["dependencies"])
    local = base | named(extras["gateway"]) | named(extras["local"])
    locked = {lock.stem: pins(lock).keys() for lock in LOCKS}
    assert base <= locked["node"]
    assert local <= locked["up"]
    assert named(extras["lan"]) <= locked["lan"]
    assert local | named(extras["lan"]) | named(extras["dev"]) <= locked["dev"]


@pytest.mark.parametrize(
    "script", ["start.sh", "test.sh", "scripts/release.sh", "requirements/update.sh"]
)
def test_scripts_are_posix_shell(script: str) -> None:
    """dash, the strictest shell at hand, parses what a newcomer runs."""
    checked = subprocess.run(
        ["dash", "-n", ROOT / script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "script", ["start.sh", "test.sh", ".ci/run", "scripts/release.sh", "requirements/update.sh"]
)
def test_commands_are_executable(script: str) -> None:
    """What the README tells to type runs as typed."""
    assert os.access(ROOT / script, os.X_OK)


def test_licence_and_changelog_are_there() -> None:
    """The licence is whole, and the changelog has a place for the next line."""
    licence = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
