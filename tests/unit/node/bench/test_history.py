"""What was measured before, and what has changed."""

from pathlib import Path

import msgspec
import pytest

from garage_ai.node.bench.history import FILE, KEPT, keep, load_history
from garage_ai.wire.benchmarks import Benchmark, Level


def level(streams: int, decode: float) -> Level:
    return Level(
        streams=streams,
        answered=streams,
        failed=0,
        decode=decode,
        prefill=500.0,
        ttft=0.1,
        ttft_worst=0.2,
    )


def measured(*decodes: float, **changes: object) -> Benchmark:
    benchmark = Benchmark(
        at=1.0,
        agent="0.1",
        engine="llamacpp",
        model="m",
        digest="sha256:" + "a" * 64,
        context=4096,
        slots=8,
        cpu="a processor",
        gpus=(),
        levels=tuple(level(4**n, decode) for n, decode in enumerate(decodes)),
        seconds=60.0,
    )
    return msgspec.structs.replace(benchmark, **changes)


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """In order, for the owner alone."""
    keep(tmp_path, measured(10.0))
    keep(tmp_path, measured(11.0))
    assert load_history(tmp_path) == (measured(10.0), measured(11.0))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_oldest_go(tmp_path: Path) -> None:
    """The file does not grow for ever."""
    for number in range(KEPT + 2):
        keep(tmp_path, measured(float(number + 1)))
    kept = load_history(tmp_path)
    assert (len(kept), kept[0], kept[-1]) == (KEPT, measured(3.0), measured(KEPT + 2.0))


@pytest.mark.parametrize("text", ["", "[]]", '{"a": 1}', "[1]", "[" * 2000])
def test_a_file_that_is_not_whole_is_no_history(tmp_path: Path, text: str) -> None:
    """A measurement is not lost over an old file."""
    path = tmp_path / FILE
    path.write_text(text)
    path.chmod(0o600)
    assert load_history(tmp_path) == ()
    keep(tmp_path, measured(1.0))
    assert load_history(tmp_path) == (measured(1.0),)


def test_a_history_of_long_names_can_be_read_again(tmp_path: Path) -> None:
    """The file stays within what is read; the newest is always there."""
    names = tuple("n" * 199 + str(number % 10) for number in range(16))
    for number in range(KEPT):
        keep(tmp_path, measured(number + 1.0, gpus=names))
    kept = load_history(tmp_path)
    assert kept[-1] == measured(float(KEPT), gpus=names)
    assert 1 < len(kept) < KEPT
