"""Put right what needs neither root nor a decision of the owner's."""

from pathlib import Path

from garage_ai.node.folder import NodeFolder
from garage_ai.node.preflight.reader import exposed_parts


def mend(folder: NodeFolder) -> tuple[Path, ...]:
    """Close the node's folder and secrets to others; give what was changed."""
    changed = []
    for part in exposed_parts(folder):
        part.chmod(0o700 if part.is_dir() else 0o600)
        changed.append(part)
    return tuple(changed)


__all__ = ["mend"]
