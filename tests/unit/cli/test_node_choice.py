"""Which cards the owner says, and how it is kept and taken back."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from garage_ai.cli import node
from garage_ai.cli.node_choice import EngineName, choose
from garage_ai.node.folder import Choice

FIRST = "GPU-5e1f0c2a-0000-4000-8000-000000000001"
SECOND = "GPU-5e1f0c2a-0000-4000-8000-000000000002"


def test_cards_are_kept_until_others_are_said() -> None:
    """What is not said stays; `auto` takes back what was."""
    said = choose(Choice(), {"gpus": [FIRST, SECOND], "gpu_layers": 20})
    assert (said.gpus, said.gpu_layers) == ((FIRST, SECOND), 20)
    assert choose(said, {"slots": 2, "gpus": None}).gpus == (FIRST, SECOND)
    assert choose(said, {"gpus": ["auto"]}).gpus == ("auto",)
    assert choose(said, {"engine": "external"}).gpus == ()


def test_what_was_picked_for_a_card_is_not_kept_for_others() -> None:
    """Nor for the processor; a model that its owner named stays wherever it is to run."""
    picked = Choice(models=("big",), picked=True, gpus=(FIRST,))
    for cards in (["none"], [SECOND]):
        other = choose(picked, {"gpus": cards})
        assert (other.models, other.picked) == ((), False)
    assert choose(picked, {"gpus": [FIRST], "slots": 2}).models == ("big",)
    assert choose(picked, {"gpus": ["none"], "models": ["small"]}).models == ("small",)
    assert choose(Choice(models=("big",)), {"gpus": ["none"]}).models == ("big",)


def test_a_model_of_the_owners_is_found_from_wherever_it_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service starts elsewhere than in the folder where the path was typed; names stay names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.gguf").touch()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").touch()

    def chosen(name: str, engine: EngineName = "llamacpp") -> str:
        (model,) = choose(Choice(), {"engine": engine, "models": [name]}).models
        return model

    for typed in ("my.gguf", "./my.gguf", "own/../my.gguf", "~/my.gguf"):
        assert Path(chosen(typed)).samefile(tmp_path / "my.gguf")
        assert Path(chosen(typed)).is_absolute()
    assert chosen("./own", engine="vllm") == str(tmp_path / "own")
    assert chosen("own", engine="vllm") == "own"
    assert chosen("my.gguf", engine="external") == "my.gguf"
    assert chosen("./not-here.gguf") == "./not-here.gguf"


@pytest.mark.parametrize("word", ["0", "all", "GPU-1", "--privileged"])
def test_what_is_no_card_is_refused_before_anything_is_done(word: str) -> None:
    """With the words that there are, and without a look at the network."""
    told = CliRunner().invoke(node.app, ["join", "http://127.0.0.1:1", "T", f"--gpu={word}"])
    assert told.exit_code == 2
    assert "UUID" in told.output
