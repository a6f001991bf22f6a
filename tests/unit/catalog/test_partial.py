"""A download on its way into its place."""

import os
import stat
from pathlib import Path

from garage_ai.catalog.partial import Origin, Partial


def test_weights_can_be_read_in_the_sandbox_whatever_the_umask(tmp_path: Path) -> None:
    """There the engine is another user; the folder around keeps everybody else out."""
    partial = Partial(tmp_path / "weights.gguf")
    before = os.umask(0o077)
    try:
        with partial.begin(0, Origin("https://example.org/weights")) as file:
            file.write(b"GGUF")
        partial.finish()
    finally:
        os.umask(before)
    assert stat.S_IMODE(partial.target.stat().st_mode) == 0o644
