"""`gai models`: the network's catalogue, as an administrator reads and changes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.conftest import (
    DIGEST,
    MANIFEST,
    MODELS,
    SHIPPED,
    Cli,
    FakeGateway,
    error,
)
from tests.parts.counted_engine import manifest, weights
from tests.parts.folders import model_folder
from tests.parts.headers import PRE, rewritten

from garage_ai.catalog import OnHuggingFace, OverHttps, decode_manifest, digest_of

COMMIT = "a" * 40


def test_without_a_word_it_lists_what_is_served(cli: Cli, gateway: FakeGateway) -> None:
    """As it always did."""
    shown = json.loads(cli("models", "--json").stdout)
    assert [each["id"] for each in shown] == [each["id"] for each in MODELS]
    assert gateway.paths == ["GET /v1/models"]


def test_the_catalogue_as_a_table(cli: Cli, gateway: FakeGateway) -> None:
    """What it is, what is allowed with it, and where nodes fetch it."""
    assert cli("models", "catalogue").stdout == (
        "model  size     quantisation  licence  digest        sources\n"
        "tiny   4000 MB  Q4_K_M        MIT      999999999999  comes with the gateway\n"
        "own    4000 MB  Q4_K_M        MIT      999999999999  org/own@main, https://models.example\n"
    )
    assert gateway.paths == ["GET /api/v1/manifests"]


def test_the_catalogue_for_programs(cli: Cli) -> None:
    """Whole, whatever this version knows of a manifest."""
    assert json.loads(cli("models", "catalogue", "--json").stdout) == [SHIPPED, MANIFEST]


@pytest.mark.parametrize("place", ["file", "-"])
def test_a_model_is_added(cli: Cli, gateway: FakeGateway, tmp_path: Path, place: str) -> None:
    """From a file, or from the command that describes it."""
    text = json.dumps(MANIFEST["manifest"])
    (tmp_path / "file").write_text(text)
    said = cli("models", "add", str(tmp_path / place) if place == "file" else "-", said=text)
    assert said.stdout == f"own is in the catalogue: {DIGEST}\n"
    assert gateway.paths == ["POST /api/v1/manifests"]
    assert gateway.asked == [MANIFEST["manifest"]]


def test_a_refusal_is_told_with_what_to_do(cli: Cli, gateway: FakeGateway) -> None:
    """The gateway's own words, and the way on."""
    gateway.refusal = (409, error("The name is another model's.", "manifest_exists"), {})
    ended = cli("models", "add", "-", said="{}")
    assert ended.returncode == 1
    assert "The name is another model's." in ended.stderr
    assert "`gai models catalogue` shows the names" in ended.stderr


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_what_is_no_manifest_is_not_sent(cli: Cli, gateway: FakeGateway, text: str) -> None:
    """It says how to make one."""
    ended = cli("models", "add", "-", said=text)
    assert (ended.returncode, gateway.paths) == (2, [])
    assert "gai models describe" in ended.stderr


def test_what_is_far_too_large_is_not_sent(cli: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    """Somebody named the weights; and what is not there is told too."""
    (tmp_path / "model.gguf").write_bytes(bytes(1024 * 1024 + 1))
    assert cli("models", "add", str(tmp_path / "model.gguf")).returncode == 2
    assert cli("models", "add", str(tmp_path / "gone.json")).returncode == 1
    assert gateway.paths == []


def test_a_model_is_removed(cli: Cli, gateway: FakeGateway) -> None:
    """And what that means is said."""
    shown = cli("models", "remove", "own", LC_ALL="sv_SE.UTF-8").stdout
    assert shown.startswith("own finns inte längre i katalogen")
    assert json.loads(cli("models", "remove", "own", "--json").stdout) == MANIFEST
    assert gateway.paths == ["DELETE /api/v1/manifests/own"] * 2
    assert cli("models", "remove", "other").returncode == 1


def described(cli: Cli, *args: str) -> tuple[Any, str]:
    """Run `describe`; give the manifest and what was said beside it."""
    ended = cli("models", "describe", *args)
    assert ended.returncode == 0, ended.stderr
    return decode_manifest(ended.stdout), ended.stderr


def test_a_file_is_described(bare_cli: Cli) -> None:
    """As the shipped manifest describes it, with the sources that were named, hubs first."""
    url = f"https://models.example/own/{weights().name}"
    made, said = described(
        *(bare_cli, str(weights()), "--name", "own", "--licence", "Apache-2.0"),
        *("--url", url, "--hub", f"org/own@{COMMIT}"),
    )
    shipped = manifest()
    assert made.name == made.id == "own"
    assert made.sources == (
        OnHuggingFace("org/own", COMMIT),
        OverHttps("https://models.example/own"),
    )
    for field in ("files", "template_digest", "tokenizer_digest", "context_length", "licence"):
        assert getattr(made, field) == getattr(shipped, field)
    assert said == ""
    again, _ = described(bare_cli, str(weights()), "--name", "own", "--licence", "Apache-2.0")
    assert digest_of(again) == digest_of(made)


@pytest.mark.parametrize(("pre", "is_warned"), [("llama-bpe", False), ("tekken", True)])
def test_a_file_that_cannot_be_counted_is_warned_of(
    bare_cli: Cli, tmp_path: Path, pre: str, is_warned: bool
) -> None:
    """A byte-pair vocabulary that is cut in a way no gateway knows earns nothing either."""
    path = rewritten(weights(), tmp_path / "own.gguf", {PRE: pre})
    _, said = described(bare_cli, str(path), "--hub", f"org/own@{COMMIT}")
    assert ("nodes would earn nothing" in said) == is_warned


def test_a_folder_is_described(bare_cli: Cli, tmp_path: Path) -> None:
    """Under its own name or another; a branch that may move on is warned of."""
    folder = model_folder(tmp_path / "Own-Model")
    made, said = described(bare_cli, str(folder), "--hub", "org/own")
    assert made.name == "own-model"
    assert made.sources == (OnHuggingFace("org/own", "main"),)
    assert made.files[0].path == "config.json"
    assert "org/own names no commit" in said
    renamed, said = described(bare_cli, str(folder), "--name", "other")
    assert renamed.name == "other"
    assert "cannot be added" in said


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("gone.gguf",), 1),
        (("--name", "no/name", "{weights}"), 1),
        (("{weights}", "--url", "http://models.example"), 2),
        (("{weights}", "--hub", "own"), 2),
    ],
)
def test_what_cannot_be_described_is_told(bare_cli: Cli, args: tuple[str, ...], code: int) -> None:
    """In a line, without a trace, and nothing is written."""
    ended = bare_cli("models", "describe", *(each.format(weights=weights()) for each in args))
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("gai: ")


def test_what_is_no_model_is_told_in_the_owners_language(bare_cli: Cli, tmp_path: Path) -> None:
    """With what a model would be."""
    path = tmp_path / "notes.gguf"
    path.write_text("no model")
    ended = bare_cli("models", "describe", str(path), LC_ALL="sv_SE.UTF-8")
    said = ended.stderr.splitlines()
    assert said[0].startswith(f"gai: {path} går inte att beskriva: ")
    assert said[1].startswith("En modell är en hel .gguf-fil")
