"""Where things are kept when nobody says otherwise: apart from the settings, for a fast start."""

import os
from pathlib import Path


def default_data_dir() -> Path:
    """Give the folder that holds everything a network or a node keeps."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "garage-ai"


__all__ = ["default_data_dir"]
