"""The gateway's API as far as it is about files and batches."""

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode

from garage_ai.cli.batch_shapes import Batch, Batches, FileDeleted, StoredFile
from garage_ai.cli.client import Client
from garage_ai.cli.errors import Failed
from garage_ai.cli.exchange import READ
from garage_ai.cli.target import find_target
from garage_ai.cli.words import say


class BatchClient(Client):
    """A client that also sends files, and has batches made of them."""

    def upload(self, name: str, file: BinaryIO) -> StoredFile:
        """Send a file, piece by piece, as the input of a batch."""
        boundary = secrets.token_hex(16)
        head, tail = _around(boundary, name)
        size = os.fstat(file.fileno()).st_size
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size + len(tail)),
        }
        body = _form(head, file, size, tail)
        with self._talk("POST", "/v1/files", body, self._answer_seconds, headers) as response:
            return self._read(response, StoredFile)

    def delete_file(self, file: str) -> FileDeleted:
        """Delete a file."""
        return self._ask("DELETE", f"/v1/files/{quote(file, safe='')}", FileDeleted)

    def submit(
        self, file: str, endpoint: str, window: str, metadata: Mapping[str, str] | None = None
    ) -> Batch:
        """Have a batch made of a file; of one file there is one, however often it is asked."""
        body: dict[str, object] = {
            "input_file_id": file,
            "endpoint": endpoint,
            "completion_window": window,
        }
        if metadata:
            body["metadata"] = dict(metadata)
        extra = {"Idempotency-Key": file}
        with self._talk("POST", "/v1/batches", body, self._answer_seconds, extra) as response:
            return self._read(response, Batch)

    def batch(self, batch: str) -> Batch:
        """Show a batch."""
        return self._ask("GET", _path(batch), Batch)

    def batches(self, limit: int, after: str | None = None) -> Batches:
        """List batches, newest first, from behind one of them."""
        query = {"limit": str(limit)} | ({"after": after} if after else {})
        return self._ask("GET", f"/v1/batches?{urlencode(query)}", Batches)

    def cancel_batch(self, batch: str) -> Batch:
        """Let nothing more of a batch begin."""
        return self._ask("POST", f"{_path(batch)}/cancel", Batch)

    def content(self, file: str) -> Iterator[bytes]:
        """Give a file's bytes, piece by piece; less than all of them is an error."""
        path = f"/v1/files/{quote(file, safe='')}/content"
        with self._talk("GET", path, None, self._answer_seconds) as response:
            while piece := response.read(READ):
                yield piece
            if response.length:
                raise Failed(say("error.broken_off", message=f"-{response.length} B"))


def batch_client(gateway: str | None, api_key: str | None, data_dir: Path | None) -> BatchClient:
    """Make the client for the gateway that the options mean. Raises: CliError."""
    return BatchClient(find_target(gateway, api_key, data_dir))


def _path(batch: str) -> str:
    return f"/v1/batches/{quote(batch, safe='')}"


def _around(boundary: str, name: str) -> tuple[bytes, bytes]:
    """Give what of a form stands before and behind its file (RFC 7578)."""
    # As browsers do: https://html.spec.whatwg.org/#multipart-form-data
    safe = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{safe}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


def _form(head: bytes, file: BinaryIO, size: int, tail: bytes) -> Iterator[bytes]:
    yield head
    # What is written to the file meanwhile is not sent: its size was told.
    while size and (piece := file.read(min(READ, size))):
        size -= len(piece)
        yield piece
    yield tail


__all__ = ["BatchClient", "batch_client"]
