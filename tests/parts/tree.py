"""Which files belong to the project."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ["src", "tests", "bench", "docs", "requirements", "scripts", ".ci"]


def tree() -> list[Path]:
    """List the project's files relative to its root, whether or not this is a git checkout."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.rstrip("\0").split("\0")
        return [Path(name) for name in names if (ROOT / name).is_file()]
    inner = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    found = (path.relative_to(ROOT) for path in (*ROOT.iterdir(), *inner) if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts]


def copy_tree(target: Path) -> None:
    """Make a fresh checkout at `target`."""
    for path in tree():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target / path)
