"""A real S3 server: a process of its own, with a bucket, and one key that opens it.

Its environment is made once (140 MB) and kept in the user's cache under the hash of its lock.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.store import S3Store
from tests.parts.environments import install, kept
from tests.parts.program import Program, at_home
from tests.parts.tree import ROOT
from tests.parts.waiting import eventually

LOCK = ROOT / "requirements/s3.lock"
SERVE = Path(__file__).with_name("serve_s3.py")
BUCKET = "garage"
URL = f"s3://{BUCKET}/files"
START_SECONDS = 60.0


class S3:
    """A running server; what it holds is gone with it."""

    def __init__(self, folder: Path) -> None:
        python = kept("s3", LOCK.read_bytes() + sys.version.encode(), _make) / "bin" / "python"
        self._program = Program("s3", [python, SERVE, BUCKET], folder, at_home(folder))
        line = eventually("S3", lambda: self._program.line("listening"), START_SECONDS)
        _, port, self._key, self._secret = line.split()
        self.port = int(port)

    def environment(self, port: int | None = None) -> dict[str, str]:
        """Tell where it is, by another port if there is something in between, and how to get in."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_REGION": "eu-north-1",
            "AWS_ACCESS_KEY_ID": self._key,
            "AWS_SECRET_ACCESS_KEY": self._secret,
        }

    def objects(self) -> dict[str, str]:
        """Give the ETags of what is there by their names: `…-3` for what came in three parts."""
        told = self.environment()
        store = S3Store.from_url(
            f"s3://{BUCKET}",
            endpoint=told["AWS_ENDPOINT_URL"],
            region=told["AWS_REGION"],
            access_key_id=self._key,
            secret_access_key=self._secret,
            client_options={"allow_http": True},
        )
        return {each["path"]: (each["e_tag"] or "").strip('"') for each in store.list().collect()}

    def stop(self) -> None:
        """End it."""
        self._program.end_all()


@contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """Run a server until the block ends."""
    server = S3(folder)
    try:
        yield server
    finally:
        server.stop()


def _make(home: Path) -> None:
    install(home, LOCK)


__all__ = ["BUCKET", "S3", "URL", "running_s3"]
