"""The environment of vLLM: found and judged."""

from pathlib import Path

import pytest

from garage_ai.node.engines.vllm_python import FLOOR, KNOWN_BAD, find_python, judge
from garage_ai.node.errors import EngineMissing, EngineUnfit


def script(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_what_is_said_wins(tmp_path: Path) -> None:
    """The option, then the variable, then `vllm` on PATH with the Python beside it."""
    asked, variable = script(tmp_path / "a/python"), script(tmp_path / "b/python")
    beside = script(tmp_path / "c/python")
    script(tmp_path / "c/vllm")
    around = {"PATH": str(tmp_path / "c"), "GAI_VLLM_PYTHON": str(variable)}
    assert find_python(str(asked), around) == asked
    assert find_python(None, around) == variable
    assert find_python(None, {"PATH": str(tmp_path / "c")}) == beside


@pytest.mark.parametrize(
    "text",
    [
        "#!/opt/vllm/bin/python3.12\nimport sys\n",
        "#!/bin/sh\n'''exec' \"/opt/vllm/bin/python3.12\" \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_a_lone_command_says_its_python(tmp_path: Path, text: str) -> None:
    """Pip writes it into the first line, or into the second where the path is long."""
    script(tmp_path / "vllm", text)
    assert find_python(None, {"PATH": str(tmp_path)}) == Path("/opt/vllm/bin/python3.12")


def test_nothing_found_is_said(tmp_path: Path) -> None:
    """Each way of not finding it has its own sentence."""
    with pytest.raises(EngineMissing, match="no `vllm` on PATH"):
        find_python(None, {"PATH": str(tmp_path)})
    with pytest.raises(EngineMissing, match="no Python that can be run"):
        find_python(str(tmp_path / "none"), {})
    with pytest.raises(EngineMissing, match="no Python that can be run"):
        find_python(str(tmp_path), {})
    script(tmp_path / "vllm", "binary")
    with pytest.raises(EngineMissing, match="--vllm-python"):
        find_python(None, {"PATH": str(tmp_path)})


@pytest.mark.parametrize(
    "version", ["0.32.0", "0.32.1", "0.33.0", "0.33.0rc1", "0.40.0.dev7+g12", "0.32.0+cpu", "1.0"]
)
def test_from_the_floor_on_it_may_run(version: str) -> None:
    """Local builds and later previews count by their number."""
    judge(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.32.0rc1", "0.32.0.dev1", "0.8.5.post1", "0.9"])
def test_below_the_floor_it_is_refused(version: str) -> None:
    """The sentence says what is needed."""
    with pytest.raises(EngineUnfit, match=r"too old: 0\.32\.0 or newer"):
        judge(version)


def test_no_version_is_no_vllm() -> None:
    """Nothing installed, and something that does not say what it is."""
    with pytest.raises(EngineMissing):
        judge("")
    with pytest.raises(EngineUnfit, match="does not say its version"):
        judge("unknown")


def test_known_bad_versions_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the table is refused with it; none of the table is below the floor anyway."""
    assert all(tuple(map(int, bad.split("."))) >= FLOOR for bad in KNOWN_BAD)
    bad = {"0.34.0": "it forgets prompts (issue 1)."}
    monkeypatch.setattr("garage_ai.node.engines.vllm_python.KNOWN_BAD", bad)
    with pytest.raises(EngineUnfit, match="forgets prompts"):
        judge("0.34.0+cu130")
