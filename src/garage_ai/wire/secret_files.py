"""Files that only their owner may read, written so that a crash leaves all or nothing.

SecretFileError        code
├── SecretMissing      secret_missing   no such file
├── SecretPresent      secret_present   it exists already and is not to be replaced
├── SecretExposed      secret_exposed   others may read it
└── SecretDamaged      secret_damaged   it cannot be what it should be
"""

import errno
import glob
import os
import secrets
import stat
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES: Final = 64 * 1024
_SUFFIX_BYTES: Final = 8
_ANY_SUFFIX: Final = "[0-9a-f]" * 2 * _SUFFIX_BYTES
_EMPTY_DISK: Final = frozenset({"lost+found"})
_OWN: Final = frozenset(
    {
        *("admin.key", "authority", "checked", "garage-signing.nk", "garage.db", "identity.json"),
        *("litellm", "local-node", "locks", "node.nk", "trusted"),
    }
)
"""What only a folder of Garage AI holds: any of it may have been made before the folder was."""


class SecretFileError(Exception):
    """A secret file that cannot be used; the message says what the owner can do."""

    code = "secret_file_error"


class SecretMissing(SecretFileError):
    code = "secret_missing"


class SecretPresent(SecretFileError):
    code = "secret_present"


class SecretExposed(SecretFileError):
    code = "secret_exposed"


class SecretDamaged(SecretFileError):
    code = "secret_damaged"


def make_private_folder(path: Path) -> None:
    """Make a folder (and its parents) that only the owner may enter; tighten one that is there.

    Raises: OSError, also for a folder of others: root could close /tmp or /var/lib to them; and
    where it cannot be closed.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if mode & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, "it is shared by all users of this PC", str(path))
    if mode & _OTHERS:
        if _is_of_others(path):
            raise PermissionError(
                errno.EPERM,
                "it holds what is not of Garage AI; choose a folder of its own",
                str(path),
            )
        path.chmod(0o700)
        if path.stat().st_mode & _OTHERS:  # a disk of Windows' inside WSL, or a memory stick
            raise PermissionError(
                errno.EPERM,
                "its disk keeps no rights, so that others may read keys there; choose a folder on "
                "a disk of Linux",
                str(path),
            )


def is_foreign(path: Path) -> bool:
    """Tell whether a folder is one that `make_private_folder` would leave as it is.

    Raises: OSError.
    """
    mode = path.stat().st_mode
    return bool(mode & stat.S_ISVTX) or (bool(mode & _OTHERS) and _is_of_others(path))


def _is_of_others(path: Path) -> bool:
    """Tell whether a folder that others may enter was there before us, for something else."""
    names = {each.name for each in path.iterdir()} - _EMPTY_DISK
    if not names or names & _OWN:
        return False
    # Below a folder that is closed to them, others do not get there anyhow.
    return all(parent.stat().st_mode & _OTHERS for parent in path.resolve().parents)


def sync_folder(path: Path) -> None:
    """Make a rename or link inside the folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_beside(path: Path, content: str) -> Path:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(_SUFFIX_BYTES)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        # A disk that is full would be fuller by a file with each try.
        beside.unlink(missing_ok=True)
        raise
    return beside


def create_secret(path: Path, content: str) -> None:
    """Write a new file, mode 0600, in a folder of mode 0700.

    Raises: SecretPresent.
    """
    make_private_folder(path.parent)
    beside = _write_beside(path, content)
    try:
        # A link, unlike a rename, never replaces what another process has just made.
        os.link(beside, path)
    except FileExistsError as error:
        raise SecretPresent(f"{path} exists already") from error
    finally:
        beside.unlink()
    sync_folder(path.parent)


def replace_secret(path: Path, content: str) -> None:
    """Write a file, mode 0600, in place of any that was there."""
    make_private_folder(path.parent)
    beside = _write_beside(path, content)
    try:
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_secret(path: Path) -> None:
    """Remove a file, and what writes of it left beside that were killed; none need be there."""
    for each in (path, *unfinished(path)):
        each.unlink(missing_ok=True)


def unfinished(path: Path) -> list[Path]:
    """Find what writes of this file left beside it that were killed, or are going on."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.{_ANY_SUFFIX}"))


def read_secret(path: Path, *, most: int = _MAX_BYTES) -> str:
    """Read a file that only the owner may read, without the white space around it.

    `most` is how many bytes it may have. Raises: SecretMissing, SecretExposed, SecretDamaged.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise SecretMissing(f"{path} does not exist") from error
    except OSError as error:
        raise SecretDamaged(f"{path} cannot be opened: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise SecretExposed(
                f"{path} has mode {mode:04o}: others may read it. If nobody has, "
                f"`chmod 600 {path}`; otherwise make a new key."
            )
        try:
            content = file.read(most + 1)
            if len(content) > most:
                raise SecretDamaged(f"{path} is too long: of {most} bytes at most")
            return content.decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretDamaged(f"{path} is not a text file of ours") from error
