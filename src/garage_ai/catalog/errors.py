"""What can go wrong with a model before it is served.

CatalogError
├── ManifestInvalid          manifest_invalid   the description itself does not hold
├── GgufInvalid              gguf_invalid       the file is not a GGUF we can read
├── FolderInvalid            folder_invalid     the folder is no model of safetensors we can use
└── FetchError
    ├── DiskFull             disk_full          says how many GiB are missing
    ├── StoreFull            store_full         the owner's room for models is used up
    ├── StoreBusy            store_busy         another process held the model for too long
    ├── StoreBroken          store_broken       the folder cannot be read or written
    ├── NoSourceLeft         no_source_left     every source failed; `causes` says how
    └── SourceError                             one source failed, the next one is tried
        ├── SourceAbsent     source_absent      package, path or page is not there
        ├── SourceRefused    source_refused     it is there but not for us
        ├── SourceBroken     source_broken      passing fault; retried
        ├── UnsafeRedirect   unsafe_redirect    it led away from HTTPS, or round in circles
        ├── WrongSize        wrong_size         not the size the manifest promises
        └── WrongDigest      wrong_digest       not the bytes the manifest promises
"""

from pathlib import Path
from typing import ClassVar

GIB = 1024**3


class CatalogError(Exception):
    """Root of everything this package raises on purpose."""

    code: ClassVar[str] = "catalog_error"
    may_pass = False
    """Whether the same may succeed later, with nothing changed by hand."""


class ManifestInvalid(CatalogError):
    """A manifest that does not decode, or a catalogue that contradicts itself."""

    code = "manifest_invalid"


class GgufInvalid(CatalogError):
    """A file that is not GGUF, is cut short, or claims more than it holds."""

    code = "gguf_invalid"


class FolderInvalid(CatalogError):
    """A folder without a config or whole weights, or with a model that brings its own code."""

    code = "folder_invalid"


class FetchError(CatalogError):
    """A model's files could not be brought here."""

    code = "fetch_error"


class DiskFull(FetchError):
    """Too little room for the model; nothing was downloaded in vain."""

    code = "disk_full"
    may_pass = True

    def __init__(self, folder: Path, needed: int, free: int, reserve: int) -> None:
        self.missing_bytes = needed + reserve - free
        super().__init__(
            f"{_gib(self.missing_bytes)} are missing on the disk of {folder}: "
            f"the model needs {_gib(needed)} more, {_gib(free)} are free "
            f"and {_gib(reserve)} are left to the machine"
        )


class StoreFull(FetchError):
    """The owner allows models less room than those that stay and the new one would take."""

    code = "store_full"

    def __init__(self, needed: int, stays: int, limit: int) -> None:
        super().__init__(
            f"models may take {_gib(limit)} here, {_gib(stays)} of it are used by what stays, "
            f"and {_gib(needed)} more are needed; allow more, or keep fewer (--disk, --keep)"
        )


class StoreBusy(FetchError):
    """Another process fetched the same model for longer than we wait."""

    code = "store_busy"
    may_pass = True


class StoreBroken(FetchError):
    """The operating system refused to read or write the model folder."""

    code = "store_broken"


class SourceError(FetchError):
    """One source did not give the file."""

    code = "source_error"


class SourceAbsent(SourceError):
    """The source does not have the file."""

    code = "source_absent"


class SourceRefused(SourceError):
    """The source has the file but answers in a way that asking again will not change."""

    code = "source_refused"


class SourceBroken(SourceError):
    """A passing fault of the source; `retry_after` is its own wish, in seconds."""

    code = "source_broken"
    may_pass = True

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UnsafeRedirect(SourceError):
    """The source led to an address that is not HTTPS, or through too many of them."""

    code = "unsafe_redirect"


class WrongSize(SourceError):
    """The source offers another number of bytes than the manifest says."""

    code = "wrong_size"


class WrongDigest(SourceError):
    """The bytes are not those the manifest names; they were not used."""

    code = "wrong_digest"


class NoSourceLeft(FetchError):
    """Every source of a file failed; `causes` has one error for each try."""

    code = "no_source_left"

    def __init__(self, file: str, causes: tuple[SourceError, ...]) -> None:
        self.causes = causes
        self.may_pass = any(cause.may_pass for cause in causes)
        told = "; ".join(str(cause) for cause in causes) or "the manifest names no source"
        super().__init__(f"no source gave {file}: {told}")


def _gib(size: int) -> str:
    """Write a size in GiB, rounded up, so that freeing that much is always enough."""
    hundredths = -(-size * 100 // GIB)
    return f"{hundredths / 100:.2f} GiB"
