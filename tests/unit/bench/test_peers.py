"""The lock files of the peers."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = [ROOT / "bench/peers/vllm-router.lock", ROOT / "requirements/litellm.lock"]


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_peer_is_pinned_with_hashes_and_without_addresses(lock: Path) -> None:
    """Every pin has a hash; no line says where to get it from."""
    text = lock.read_text()
    assert lock.stem in pins(lock)
    assert "://" not in text
    requirements = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_litellm_is_none_of_the_bad_versions() -> None:
    """Two releases carried malware, older ones a hole before the login."""
    lock = next(lock for lock in LOCKS if lock.stem == "litellm")
    version = tuple(int(part) for part in pins(lock)["litellm"].split(".")[:3])
    assert version >= (1, 83, 14)
