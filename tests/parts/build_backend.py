"""A build backend for the trial checkout: makes a `gai` that says how it was called.

It needs nothing installed. A FIFO named `hold` in the checkout stops it until someone writes there,
a file named `broken` makes it fail: so tests choose when an install is under way, and how it ends.
"""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

INFO = "garage_trial-1.dist-info"
FILES = {
    "garage_trial.py": """
import json, os, sys

def main():
    print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "pid": os.getpid()}))
""",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: garage-trial\nVersion: 1\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\ngai = garage_trial:main\n",
}


def build_editable(
    wheel_directory: str,
    config_settings: Mapping[str, str] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Write the wheel, after waiting or failing as the checkout asks."""
    root = Path(__file__).parent
    with (root / "builds").open("a") as builds:
        builds.write("build\n")
    if (root / "hold").exists():
        (root / "hold").read_bytes()
    if (root / "broken").exists():
        raise RuntimeError("the trial is broken on purpose")
    name = "garage_trial-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{INFO}/RECORD", record(FILES))
    return name


def record(files: Mapping[str, str]) -> str:
    """List a wheel's files with their hashes, as installers want it."""
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.append(f"{path},sha256={digest.decode()},{len(text)}")
    return "\n".join([*rows, f"{INFO}/RECORD,,", ""])
