"""A disk with no room left, under everything that `gai up` keeps."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.parts.lent_engine import MODEL, Lent, lend
from tests.parts.product import Product
from tests.parts.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def on_small_disk(tmp_path: Path, small_disk: Path) -> Iterator[Lent]:
    """A network whose data folder is on it; the volunteer's folder is not."""
    with ExitStack() as stack:
        product = Product(tmp_path, "--no-node", data=small_disk / "network")
        stack.callback(product.stop)
        product.start()
        yield lend(product, tmp_path, stack)


def fill(disk: Path) -> Path:
    """Write until nothing fits any more."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        # Whoever else writes there may give something back meanwhile.
        while os.statvfs(disk).f_bavail:
            for size in (65536, 1):
                with suppress(OSError):
                    while file.write(b"\0" * size):
                        pass
    return filler


def test_requests_are_answered_and_usage_is_kept_for_later(
    on_small_disk: Lent, small_disk: Path
) -> None:
    """With a full disk chats go on; what needs the disk is a typed error; later all is written."""
    lent = on_small_disk
    key = lent.product.new_key()
    http = lent.http.with_key(key["key"])
    assert http.chat(MODEL).status == 200
    eventually("a record", lambda: len(lent.product.records(key["id"])) == 1)
    before = lent.product.pid("nats"), lent.product.pid("gateway")

    filler = fill(small_disk)
    ids = set()
    for _ in range(20):
        answer = http.chat(MODEL)
        assert answer.status == 200
        ids.add(answer.headers["x-request-id"])
    with http.stream(MODEL) as stream:
        ids.add(stream.headers["x-request-id"])
        assert stream.rest().done
    made = lent.http.ask("POST", "/api/v1/keys", {"name": "too much" * 20})
    assert made.status == 201 or (made.status, made.code) == (503, "storage_unavailable")
    assert lent.http.get("/health/live").status == 200

    filler.unlink()

    def all_written() -> bool:
        return ids <= {each["request_id"] for each in lent.product.records(key["id"])}

    eventually("the records of that time", all_written)
    assert lent.product.new_key(name="after")["key"].startswith("gai_")
    assert (lent.product.pid("nats"), lent.product.pid("gateway")) == before


def test_a_start_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """It ends with a sentence that names the folder, and leaves nothing running."""
    fill(small_disk)
    product = Product(tmp_path, "--no-node", data=small_disk / "network")
    with pytest.raises(AssertionError) as raised:
        product.start()
    said = str(raised.value)
    # Its first line names the folder, too.
    sentence = rf"^gai: {re.escape(str(small_disk))}\S*: No space left on device\.$"
    assert re.search(sentence, said, re.MULTILINE), said
    assert "Traceback" not in said
