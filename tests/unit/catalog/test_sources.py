import importlib.util
from pathlib import Path

import pytest

from garage_ai.catalog import Hub, InFolder, InPackage, OnHuggingFace, OverHttps
from garage_ai.catalog.download import _host
from garage_ai.catalog.sources import Address

HUB = Hub(endpoint="https://hub.example/", token="hf_secret")


def test_hugging_face_addresses() -> None:
    """The address is endpoint, repository, `resolve`, revision and path, each escaped."""
    source = OnHuggingFace(repo="org/model", revision="refs/pr/1", folder="q4")
    assert source.address("a b.gguf", HUB) == Address(
        "https://hub.example/org/model/resolve/refs%2Fpr%2F1/q4/a%20b.gguf", "hf_secret"
    )


def test_https_addresses_carry_no_token() -> None:
    """The hub's token is not for other servers."""
    address = OverHttps(base="https://example.org/models/").address("a#1.gguf", HUB)
    assert address == Address("https://example.org/models/a%231.gguf", None)


def test_tokens_are_not_shown() -> None:
    """A hub or address in a log does not give its token away."""
    shown = repr(HUB) + repr(OnHuggingFace(repo="o/m", revision="main").address("f", HUB))
    assert "hf_secret" not in shown


def test_a_password_is_in_no_message() -> None:
    """A mirror's address may hold one, and what failed there is logged."""
    hub = Hub(endpoint="https://me:secret@hub.example:8443")
    assert _host(OnHuggingFace(repo="o/m", revision="main").address("f", hub)) == "hub.example:8443"


def test_hub_from_environment() -> None:
    """The names other Hugging Face clients use are read; empty is the same as missing."""
    assert Hub.from_environment({"HF_ENDPOINT": "https://e", "HF_TOKEN": "t"}) == Hub(
        "https://e", "t"
    )
    assert Hub.from_environment({"HF_ENDPOINT": "", "HF_TOKEN": ""}) == Hub()
    lines = {"HF_ENDPOINT": "https://e\n", "HF_TOKEN": "t\n"}  # out of files
    assert Hub.from_environment(lines) == Hub("https://e", "t")


def test_packages_are_found_without_running_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of a package whose import fails are found all the same."""
    package = tmp_path / "weights_of_mine"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "w.gguf").write_bytes(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    source = InPackage(package="weights_of_mine", folder="data")
    assert source.locate("w.gguf") == package / "data" / "w.gguf"
    assert source.locate("other.gguf") is None


@pytest.mark.parametrize("package", ["no_such_package_here", "__main__", "json"])
def test_absent_packages_locate_nothing(package: str) -> None:
    """A package that is not installed, is no package or lacks the file gives None."""
    assert InPackage(package=package).locate("w.gguf") is None


def test_folders_join() -> None:
    """A folder says where the file would be."""
    assert InFolder(folder="/models").locate("a/b") == Path("/models/a/b")
