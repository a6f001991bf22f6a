"""Run by the old version in the new one's environment: `python -m garage_ai.node.update.proof DIR`.

Whatever the new version would stumble over at its start, it stumbles over here: a module that is
not there, a folder that it cannot read.
"""

import importlib
import sys
from pathlib import Path

from garage_ai.node.folder import RECORD, NodeFolder


def main(path: Path) -> None:
    """Load and read what a start does first. Raises: NodeError, ImportError."""
    importlib.import_module("garage_ai.node.serve")
    folder = NodeFolder(path)
    if (folder.path / RECORD).exists():
        folder.load()
        folder.identity.load()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
