"""The last head that a gateway signed or saw, in a file beside the database, not in it.

Whoever has only the database can make the log end where it likes, and delete the heads over the
rest: this file still tells what was signed. It is an export's first line: a head, signed.
"""

from pathlib import Path
from typing import Final

from garage_ai.audit.chain import is_signed
from garage_ai.audit.errors import BadExport, LogBroken
from garage_ai.audit.exports import Export, read_export
from garage_ai.audit.models import Head
from garage_ai.wire.secret_files import replace_secret

HEAD_FILE: Final = "audit.head"
"""Its name in a gateway's data folder."""


class RememberedHead:
    """Keeps one head in a file, whole or not at all. Fails closed: what cannot be read is told."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self, public_key: str | None) -> Head | None:
        """Give the head, None where none was written yet. Blocks. Raises: LogBroken.

        Without a key it must be signed with the one that it names.
        """
        try:
            head = read_export(self._file.read_bytes()).head
        except FileNotFoundError:
            return None
        except (OSError, BadExport) as error:
            raise LogBroken(f"{self._file} cannot be read: {error}") from error
        if head is None or not is_signed(head, public_key or head.public_key):
            raise LogBroken(f"{self._file} holds no head that this network's key signed")
        return head

    def write(self, head: Head) -> None:
        """Put another head in its place. Blocks. Raises: OSError."""
        replace_secret(self._file, b"".join(Export(head, ()).lines()).decode())


__all__ = ["HEAD_FILE", "RememberedHead"]
