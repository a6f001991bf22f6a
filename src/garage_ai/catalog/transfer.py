"""Rules of one HTTP download, without any I/O: what to ask, and what to make of the answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from garage_ai.catalog.errors import (
    SourceAbsent,
    SourceBroken,
    SourceRefused,
    UnsafeRedirect,
    WrongSize,
)
from garage_ai.catalog.partial import Origin
from garage_ai.catalog.sources import Address

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_CONTENT_RANGE = re.compile(r"\Abytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_ABSENT = frozenset({404, 410})
_FORBIDDEN = frozenset({401, 403})  # Hugging Face says so of what is not there, too
_LONGEST_WISH_S = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a fetch: seconds, bytes and counts, each with its reason."""

    connect_s: float = 15.0  # a mirror that is up answers in one
    read_s: float = 30.0  # silence longer than this is a dead connection
    slow_window_s: float = 60.0  # a trickle is as good as silence …
    slow_bytes: int = 256 * 1024  # … 4 KiB/s would take months for a large model
    attempts: int = 5  # in a row without a single new byte
    resumptions: int = 100  # in all: a 40 GiB download over a bad line may break often
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    redirects: int = 5
    lock_wait_s: float = 24 * 3600.0  # the other process may be downloading something large
    reserve_bytes: int = 512 * 1024**2  # room left to the machine


class RangeUseless(SourceBroken):
    """The server will not continue where we are; begin anew."""


def request_headers(address: Address, offset: int, origin: Origin | None) -> dict[str, str]:
    """Ask for the bytes from `offset` on, and for nothing compressed.

    With a strong ETag of the same address the server decides whether the file is still the
    same (RFC 9110, 13.1.5). Without one the bytes are continued all the same: the manifest's
    digest decides in the end.
    """
    headers = {"Accept-Encoding": "identity"}
    if address.token:
        headers["Authorization"] = f"Bearer {address.token}"
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if origin and origin.url == address.url and origin.etag:
            headers["If-Range"] = origin.etag
    return headers


def start_of_body(
    status: int, headers: Mapping[str, str], offset: int, size: int, place: str
) -> int:
    """Say at which byte of the file the body of an answer begins.

    Raises RangeUseless, SourceAbsent, SourceRefused, SourceBroken or WrongSize.
    """
    if status not in (200, 206):
        raise _failure(status, headers, place)
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise SourceRefused(f"{place} compresses what must be exact")
    start = _range_start(headers, offset, size, place) if status == 206 else 0
    length = headers.get("Content-Length")
    if length is not None and length != str(size - start):
        raise WrongSize(f"{place} offers {length[:20]} bytes instead of {size - start}")
    return start


def check_prefix(status: int, headers: Mapping[str, str], place: str) -> None:
    """See that an answer begins with the file's first byte; a server may send all of it.

    Raises SourceAbsent, SourceRefused or SourceBroken.
    """
    if status not in (200, 206):
        raise _failure(status, headers, place)
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise SourceRefused(f"{place} compresses what must be exact")
    match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if status == 206 and (match is None or int(match[1]) != 0):
        raise RangeUseless(f"{place} sent another part than the one asked for")


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """Return the ETag when it stands for the exact bytes."""
    etag = headers.get("ETag", "")
    is_strong = etag.startswith('"') and etag.endswith('"') and 2 < len(etag) <= 200
    return etag if is_strong else None


def redirected(address: Address, location: str | None, place: str) -> Address:
    """Follow one redirect; the token stays behind when the origin changes.

    Raises UnsafeRedirect for everything but HTTPS.
    """
    try:
        url = urljoin(address.url, location or "")
        old, new = urlsplit(address.url), urlsplit(url)
        same = (new.scheme, new.hostname, new.port) == (old.scheme, old.hostname, old.port)
    except ValueError as error:
        raise UnsafeRedirect(f"{place} led to no valid address") from error
    if not location or new.scheme != "https" or not new.hostname:
        raise UnsafeRedirect(f"{place} led to {new.scheme or 'nowhere'} instead of https")
    return Address(url, address.token if same else None)


def delay_before(failures: int, wish_s: float, jitter: float, limits: Limits) -> float:
    """Seconds to wait after so many failures in a row; `jitter` is between 0 and 1.

    Between half and all of a doubling delay, and no less than the source itself wished.
    """
    delay = min(limits.longest_delay_s, limits.first_delay_s * 2.0 ** (failures - 1))
    return max(delay * (0.5 + jitter / 2), wish_s)


def _range_start(headers: Mapping[str, str], offset: int, size: int, place: str) -> int:
    match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset:
        raise RangeUseless(f"{place} sent another part than the one asked for")
    if match[3] not in ("*", str(size)) or int(match[2]) != size - 1:
        raise WrongSize(f"{place} has a file of {match[3]} bytes instead of {size}")
    return offset


def _failure(status: int, headers: Mapping[str, str], place: str) -> Exception:
    if status == 416:
        return RangeUseless(f"{place} cannot continue from here")
    if status in _PASSING:
        return SourceBroken(f"{place} answered {status}", retry_after=_wish(headers))
    if status in _ABSENT:
        return SourceAbsent(f"{place} does not have it ({status})")
    if status in _FORBIDDEN:
        words = "it is not for everybody, or not there; HF_TOKEN opens a repository of Hugging Face"
        return SourceRefused(f"{place} answered {status}: {words}")
    return SourceRefused(f"{place} answered {status}")


def _wish(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WISH_S) if text.isdecimal() and len(text) < 7 else 0.0
