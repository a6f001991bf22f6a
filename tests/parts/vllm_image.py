"""An image with a real vLLM for the processor, laid out as the official one is."""

import shutil
import sys
from pathlib import Path

from tests.parts.guest import Guest
from tests.parts.hosts import run
from tests.parts.real_vllm import RealVllm

IMAGE = "localhost/gai-test-vllm:1"
DEBIANS_PYTHON = (3, 11)
PLACE = "usr/local/lib/python3.11/dist-packages"


def import_image(user: Guest, archive: Path, vllm: RealVllm, folder: Path) -> None:
    """Put the packages of vLLM's environment over a Debian, and give that to the user's podman."""
    # Compiled packages run in no other Python than the one they were installed for.
    assert sys.version_info[:2] == DEBIANS_PYTHON, "needs the Python that Debian 12 has"
    (packages,) = vllm.python.parents[1].glob("lib/python*/site-packages")
    whole = folder / "vllm.tar"
    shutil.copyfile(archive, whole)
    # Compiled modules go along: each process inside would compile them anew.
    words = ["--exclude=torch/include", "--exclude=pip"]
    words += ["--owner=0", "--group=0", "--mode=a+rX", f"--transform=s,^,./{PLACE}/,rh"]
    names = sorted(each.name for each in packages.iterdir())
    run("tar", "-C", str(packages), *words, "-rf", str(whole), *names, seconds=400)
    try:
        with whole.open("rb") as image:
            user.well("podman", "import", "--quiet", "-", IMAGE, stdin=image, seconds=400)
    finally:
        whole.unlink()


__all__ = ["IMAGE", "import_image"]
