"""What is released: one wheel with its locks, named by hash, in a text that a release key signed.

A release is a file `garage-ai-X.Y.Z.json` beside its wheel; `latest.json` is a copy of the newest.
The signature is Ed25519 over `gai-release-v1` and the text as it stands, so nothing is trusted that
was not signed: neither the place it came from nor the way it came.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.node.errors import BadRelease, NoReleaseKey
from garage_ai.wire.identity import Signature, encode_signature, verify_text
from garage_ai.wire.nkey import KeyPair, NkeyError
from garage_ai.wire.versions import VERSION_PATTERN, AgentVersion, agent_version

RELEASE_KEY: Final = ""
"""The public half of the key that signs our releases, `U…`. Empty: there is none yet.

Whoever releases builds of their own says their key in `GAI_RELEASE_KEY`.
"""

MAX_PAGE: Final = 64 * 1024
MAX_WHEEL: Final = 100_000_000
_MAX_LOCK: Final = 4_000_000
_LOCKS: Final = "extra_metadata/requirements"
"""Where in its metadata a wheel carries the locks it is installed by."""

Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
LockName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{1,20}$")]


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One version: sha256 of the wheel (of `size` bytes) and of each lock in it, oldest Python."""

    version: Annotated[str, msgspec.Meta(pattern=f"^{VERSION_PATTERN}$")]
    sha256: Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_WHEEL)]
    locks: Annotated[dict[LockName, Hash], msgspec.Meta(max_length=16)]
    python: Annotated[str, msgspec.Meta(pattern=r"^3\.[1-9][0-9]?$")]
    date: Annotated[str, msgspec.Meta(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$")]

    @property
    def number(self) -> AgentVersion:
        """The version, to be compared."""
        number = agent_version(self.version)
        if number is None:
            raise AssertionError(f"{self.version!r} has passed its own pattern")
        return number

    @property
    def wheel(self) -> str:
        """The wheel's file name; not taken from the text, so that it is never a path."""
        return f"garage_ai-{self.version}-py3-none-any.whl"


class SignedRelease(msgspec.Struct, frozen=True):
    """A release as JSON text, and the signature over exactly this text."""

    body: Annotated[str, msgspec.Meta(max_length=MAX_PAGE)]
    signature: Signature


_signed: Final = msgspec.json.Decoder(SignedRelease)
_releases: Final = msgspec.json.Decoder(Release)


def page_name(version: str) -> str:
    """Name the file that describes a version."""
    return f"garage-ai-{version}.json"


def release_key(said: str | None) -> str:
    """Give the key to trust: the one that was said, or the one built in. Raises: NoReleaseKey."""
    key = said or RELEASE_KEY
    if not key:
        raise NoReleaseKey(
            "This version has no release key built in, so there is nothing it could trust. Update "
            "as you installed it, or name the key of whoever releases: GAI_RELEASE_KEY=U…"
        )
    return key


def open_release(page: bytes, key: str) -> Release:
    """Read a release, if the key has signed it. Raises: BadRelease."""
    if len(page) > MAX_PAGE:
        raise BadRelease("The release is longer than {most} bytes.", most=MAX_PAGE)
    try:
        signed = _signed.decode(page)
        verify_text(key, _signed_text(signed.body), signed.signature)
        return _releases.decode(signed.body)
    except NkeyError as error:
        raise BadRelease(
            "The release is not signed by {key}: {error}.", key=key, error=error
        ) from error
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRelease("That is no release: {error}", error=str(error)[:200]) from error


def make_release(wheel: Path, *, python: str, date: str) -> Release:
    """Describe a wheel. Raises: BadRelease."""
    page = wheel.read_bytes()
    version = wheel.name.split("-")[1]
    locks = {name: hashlib.sha256(text).hexdigest() for name, text in locks_in(wheel).items()}
    release = Release(
        version=version,
        sha256=hashlib.sha256(page).hexdigest(),
        size=len(page),
        locks=locks,
        python=python,
        date=date,
    )
    if release.wheel != wheel.name:
        raise BadRelease("The wheel should be called {name}.", name=release.wheel)
    return release


def sign_release(release: Release, pair: KeyPair) -> bytes:
    """Sign a release."""
    body = msgspec.json.encode(release).decode()
    signature = encode_signature(pair.sign(_signed_text(body)))
    return msgspec.json.encode(SignedRelease(body, signature)) + b"\n"


def check_wheel(wheel: Path, release: Release) -> dict[str, bytes]:
    """Compare a wheel with its release, and give the locks in it. Raises: BadRelease."""
    try:
        if wheel.stat().st_size != release.size:
            raise BadRelease("{wheel} is not of the size that was released.", wheel=wheel.name)
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadRelease(
            "{file} cannot be read: {error}", file=wheel, error=error.strerror
        ) from error
    if found != release.sha256:
        raise BadRelease(
            "{wheel} is not what was released: its sha256 is {found}.",
            wheel=wheel.name,
            found=found,
        )
    locks = locks_in(wheel)
    for name, expected in release.locks.items():
        if hashlib.sha256(locks.get(name, b"")).hexdigest() != expected:
            raise BadRelease(
                "The lock {name} in {wheel} is not what was released.",
                name=name,
                wheel=wheel.name,
            )
    return {name: locks[name] for name in release.locks}


def locks_in(wheel: Path) -> dict[str, bytes]:
    """Give the locks that a wheel carries, by name. Raises: BadRelease."""
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                folder, _, name = entry.filename.rpartition("/")
                if folder.endswith(f".dist-info/{_LOCKS}") and name.endswith(".lock"):
                    if entry.file_size > _MAX_LOCK:
                        raise BadRelease(
                            "The lock {name} is longer than {most} bytes.",
                            name=name,
                            most=_MAX_LOCK,
                        )
                    found[name.removesuffix(".lock")] = archive.read(entry)
    except (OSError, zipfile.BadZipFile) as error:
        raise BadRelease("{wheel} is no wheel: {error}", wheel=wheel.name, error=error) from error
    return found


def _signed_text(body: str) -> bytes:
    return b"gai-release-v1\n" + body.encode()


__all__ = [
    "MAX_PAGE",
    "MAX_WHEEL",
    "RELEASE_KEY",
    "Release",
    "check_wheel",
    "make_release",
    "open_release",
    "page_name",
    "release_key",
    "sign_release",
]
