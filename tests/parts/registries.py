"""How a system made for a test reaches the package registries: as this machine does."""

import os
from pathlib import Path


def authorities() -> str:
    """Give the file of authorities that this machine trusts."""
    return os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"


def pip_settings(folder: Path, trusted: str) -> Path:
    """Write a pip.conf for a system where the authorities are at `trusted`."""
    lines = ["[global]", f"cert = {trusted}"]
    if index := os.environ.get("PIP_INDEX_URL"):
        lines.append(f"index-url = {index}")
    path = folder / "pip.conf"
    path.write_text("\n".join(lines) + "\n")
    return path
