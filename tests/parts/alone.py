"""start.sh in a folder with nothing beside it, and a small trial package for it to install."""

import hashlib
import shutil
import zipfile
from pathlib import Path

from tests.parts.build_backend import FILES, INFO, record
from tests.parts.checkout import ROOT, Checkout, Tools

LOCKS = ["engine", "lan", "litellm", "model", "node", "up"]


class Alone(Checkout):
    """A folder that holds start.sh and nothing else; `wheel` is the trial package, elsewhere."""

    def __init__(self, root: Path, tools: Tools, *, uv: bool) -> None:
        super().__init__(root, tools, uv=uv)
        self.wheel = make_wheel(tools.folder.parent / "some where")

    def _lay_out(self) -> None:
        self.root.mkdir(parents=True)
        shutil.copy(ROOT / "start.sh", self.root)

    def released(self, package: str) -> None:
        """Write into start.sh what a release writes there."""
        script = self.root / "start.sh"
        text = script.read_text()
        assert "released=''\n" in text
        script.write_text(text.replace("released=''\n", f"released='{package}'\n"))


def make_wheel(folder: Path, mark: str = "1") -> Path:
    """Write the trial package as a wheel that carries locks; another `mark` is other bytes."""
    folder.mkdir(exist_ok=True)
    carried = {f"{INFO}/extra_metadata/requirements/{name}.lock": "" for name in LOCKS}
    files = {**FILES, **carried, "garage_mark.py": f"mark = {mark!r}\n"}
    path = folder / "garage_trial-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{INFO}/RECORD": record(files)}.items():
            # Always of the same moment, so that the same contents are the same bytes.
            wheel.writestr(zipfile.ZipInfo(name), text)
    return path


def sha256_of(path: Path) -> str:
    """Give a file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


__all__ = ["Alone", "make_wheel", "sha256_of"]
