"""The file of the admin key: mode 0600, that key and nothing else.

It is the one key kept in plain text, so that `gai` on the same machine needs none to be typed.
"""

import os
import secrets
import stat
from pathlib import Path

from garage_ai.accounts.errors import AdminKeyUnusable
from garage_ai.accounts.secrets import KEY_PREFIX, digest_of, new_secret

_LONGEST = 1024


def read_or_make(path: Path) -> str:
    """Give the key in the file; make both where there is none.

    Two processes that make it at once end with the same key. Raises: AdminKeyUnusable.
    """
    try:
        found = _read(path)
        if found is not None:
            return found
        written = _write_beside(path)
        try:
            # A link fails where the file exists, and is whole where it does not.
            os.link(written, path)
        except FileExistsError:
            pass
        finally:
            written.unlink()
        found = _read(path)
    except OSError as error:
        raise AdminKeyUnusable(f"{path}: {error.strerror}") from error
    if found is None:
        raise AdminKeyUnusable(f"{path}: something removes it while it is made")
    return found


def replace(path: Path) -> str:
    """Put a new key into the file, whatever it held. Raises: AdminKeyUnusable."""
    try:
        written = _write_beside(path)
        written.replace(path)
        found = _read(path)
    except OSError as error:
        raise AdminKeyUnusable(f"{path}: {error.strerror}") from error
    if found is None:
        raise AdminKeyUnusable(f"{path}: something removes it while it is made")
    return found


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AdminKeyUnusable(f"{path}: not a plain file")
        if stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        text = file.read(_LONGEST).decode("ascii", "replace").strip()
    if digest_of(KEY_PREFIX, text) is None:
        raise AdminKeyUnusable(f"{path}: holds no key; move it away to get a new one")
    return text


def _write_beside(path: Path) -> Path:
    """Write a new key to a file of its own in the same folder, on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(new_secret(KEY_PREFIX) + "\n")
        file.flush()
        os.fsync(descriptor)
    return beside
