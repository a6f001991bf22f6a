"""One file that holds a whole network: a tar of the database, the keys, and what they hash to.

    manifest.json              format, version, revision, moment, and size and SHA-256 of the others
    garage.db                  every table, as an SQLite file
    admin.key                  the administrator's key
    nats/authority/NAME        the keys of the network
    tls/NAME                   its own CA and certificate, where it has one
    files/NAME                 the files of batches, where they were asked for

It is as secret as what it holds: mode 0600. Nothing in it is trusted before its digest was checked,
and no name but these is ever written.
"""

import hashlib
import os
import re
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Final

import msgspec

from garage_ai import __version__
from garage_ai.local.backup_errors import BackupDamaged, BackupTooNew, FileTaken
from garage_ai.wire.secret_files import sync_folder

DATABASE: Final = "garage.db"
MANIFEST: Final = "manifest.json"
FILES: Final = "files"
_FORMAT: Final = 1
_WITH_FILES: Final = 2
_NAME: Final = re.compile(
    r"garage\.db|admin\.key|(nats/authority|tls|files)/[A-Za-z0-9][\w.-]{0,99}"
)
_MANIFEST_BYTES: Final = 64_000_000
"""Four hundred thousand files of batches."""
_CHUNK: Final = 1 << 20


class Member(msgspec.Struct, frozen=True):
    """A file of a backup."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds; `version` is the program's, `revision` the tables'."""

    format: int
    version: str
    revision: str
    made_at: datetime
    members: tuple[Member, ...]

    @property
    def has_files(self) -> bool:
        """Tell whether files of batches are in it."""
        return any(member.name.startswith(f"{FILES}/") for member in self.members)

    @property
    def digest(self) -> str:
        """Tell this backup from every other one."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def write_archive(
    target: Path, files: Mapping[str, Path], revision: str, aside: Path | None = None
) -> Manifest:
    """Write a backup of `files`, by their names in it; whole and on the disk, or not there.

    Until it is whole it lies in `aside`, a folder on the same disk; beside the target without.
    Raises: FileTaken, OSError.
    """
    members = tuple(_measured(name, file) for name, file in files.items())
    manifest = Manifest(_FORMAT, __version__, revision, datetime.now(UTC), members)
    if manifest.has_files:  # what holds none is as older versions wrote it, and they can read it
        manifest = msgspec.structs.replace(manifest, format=_WITH_FILES)
    beside = (aside or target.parent) / f".{target.name}.{secrets.token_hex(6)}"
    try:
        with _new_file(beside) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
            body = msgspec.json.encode(manifest)
            tar.addfile(_header(MANIFEST, len(body)), BytesIO(body))
            for member in members:
                with files[member.name].open("rb") as file:
                    tar.addfile(_header(member.name, member.size), file)
        _give_name(beside, target)
    except FileExistsError as error:
        raise FileTaken(target) from error
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(target.parent)
    return manifest


def _give_name(beside: Path, target: Path) -> None:
    """Give a file its name, which no other may have. Raises: FileExistsError, OSError."""
    try:
        # A link, unlike a rename, never replaces what is there.
        os.link(beside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as on a memory stick
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            beside.replace(target)
        except OSError:
            target.unlink()
            raise


def may_hold(name: str) -> bool:
    """Tell whether a backup may hold a file of this name: one that may not is never read again."""
    return _NAME.fullmatch(name) is not None


def read_manifest(source: Path) -> Manifest:
    """Read what a backup says of itself. Raises: BackupDamaged, BackupTooNew."""
    with _opened(source) as tar:
        return _manifest(tar)


def unpack(source: Path, folder: Path) -> Manifest:
    """Write all members below a folder, each checked against its digest and on the disk.

    Raises: BackupDamaged, BackupTooNew, OSError.
    """
    with _opened(source) as tar:
        manifest = _manifest(tar)
        for member in manifest.members:
            _unpack_one(tar, member, folder / member.name)
    for each in {folder, *((folder / member.name).parent for member in manifest.members)}:
        sync_folder(each)
    return manifest


def _manifest(tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or first.size > _MANIFEST_BYTES:
        raise BackupDamaged("it does not begin with a manifest")
    try:
        body = _content(tar, first).read()
        told = msgspec.json.decode(body, type=dict[str, object]).get("format")
        if isinstance(told, int) and told > _WITH_FILES:
            raise BackupTooNew(f"it is of format {told}, this version reads up to {_WITH_FILES}")
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupDamaged(f"its manifest says nothing: {error}") from error
    names = [member.name for member in manifest.members]
    if len(set(names)) != len(names) or not all(map(may_hold, names)):
        raise BackupDamaged("its manifest names what no backup holds")
    if DATABASE not in names:
        raise BackupDamaged("it holds no database")
    return manifest


def _unpack_one(tar: tarfile.TarFile, member: Member, target: Path) -> None:
    header = tar.next()
    if header is None or (header.name, header.size) != (member.name, member.size):
        raise BackupDamaged(f"{member.name} is missing or of another size")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with _new_file(target) as file:
        content = _content(tar, header)
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != member.sha256:
        raise BackupDamaged(f"{member.name} is not as it was written")


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, mode="r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise BackupDamaged(f"it is no backup, or only a part of one: {error}") from error


def _content(tar: tarfile.TarFile, header: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(header) if header.isreg() else None
    if content is None:
        raise BackupDamaged(f"{header.name} is no plain file")
    return content


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a private file that was not there; what was written is on the disk at the end."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _measured(name: str, file: Path) -> Member:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Member(name, file.stat().st_size, digest)


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header


__all__ = [
    "DATABASE",
    "FILES",
    "MANIFEST",
    "Manifest",
    "Member",
    "may_hold",
    "read_manifest",
    "unpack",
    "write_archive",
]
