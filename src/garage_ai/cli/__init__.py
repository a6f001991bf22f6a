"""The `gai` command, one module per noun.

Imports nothing of weight: what a command needs is imported when it runs.
"""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        from garage_ai.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


__all__ = ["main"]
