"""Which gateway a command talks to, and with which key.

Said on the command line, else in the environment, else the `gai up` that runs on this machine. The
admin key of that one is sent to it alone, and only while its process lives: another program that
took its port later never sees the key.
"""

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from garage_ai.cli.errors import CliError, Misused, Refused, Unreachable
from garage_ai.cli.member_words import say as say_to_member
from garage_ai.cli.misuse_words import say as say_misuse
from garage_ai.cli.words import say
from garage_ai.data_folder import default_data_dir
from garage_ai.local.folders import Folders
from garage_ai.local.whereabouts import find, find_any
from garage_ai.wire.hosts import is_loopback

_LONGEST_KEY: Final = 1024


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway: base `url` without /v1, where to connect, what to trust, and the key."""

    url: str
    host: str
    port: int
    key: str
    ca: Path | None = None

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("https:")

    @property
    def name(self) -> str:
        """The host as the certificate must name it."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_only_here(self) -> bool:
        """Whether the address leads nowhere on any other PC."""
        return is_loopback(self.name)


def find_target(
    gateway: str | None = None, api_key: str | None = None, data_dir: Path | None = None
) -> Target:
    """Find the gateway and the key. Raises: Misused, Unreachable, Refused."""
    gateway = gateway or os.environ.get("GAI_GATEWAY")
    key = api_key or os.environ.get("GAI_API_KEY")
    chosen = data_dir or _folder_from_environment()
    here = _network_here(chosen)
    if gateway is None:
        if here is None:
            raise _nobody_here(chosen)
        return _with_key(here, key)
    url = _base_url(gateway)
    if here is not None and url in _names_of(here):
        return _with_key(here, key)
    return _with_key(target_at(url, "", _known_ca(url)), key)


def target_at(url: str, key: str, ca: Path | None = None) -> Target:
    """Name a gateway by its base URL. Raises: Misused."""
    parts = urlsplit(_base_url(url))
    default = 443 if parts.scheme == "https" else 80
    return Target(_base_url(url), parts.hostname or "", parts.port or default, key, ca)


def kept_ca(url: str) -> Path:
    """Say where the CA of the network at an address is kept once an invite has named it.

    Raises: Misused.
    """
    target = target_at(url, "")
    return default_data_dir() / "trusted" / f"{target.host}-{target.port}.pem"


def untrusted_advice(target: Target) -> str:
    """Say what to do where a gateway's certificate is not trusted."""
    if target.ca is not None and target.ca == kept_ca(target.url):
        return say_to_member("untrusted.kept", path=target.ca)
    return say("error.untrusted.next")


def _known_ca(url: str) -> Path | None:
    # Who says which CAs are good means it.
    if os.environ.get("SSL_CERT_FILE") or not url.startswith("https:"):
        return None
    path = kept_ca(url)
    with contextlib.suppress(OSError):
        return path if path.is_file() else None
    return None


def _with_key(target: Target, key: str | None) -> Target:
    if not (key or target.key):
        raise Refused(say("error.no_key", url=target.url), say("error.no_key.next"))
    chosen = (key or target.key).strip()
    if not (chosen.isascii() and chosen.isprintable()):
        raise Misused(say("error.bad_key"), say("error.bad_key.next"))
    return replace(target, key=chosen)


def _names_of(here: Target) -> frozenset[str]:
    scheme = "https" if here.is_tls else "http"
    loopback = {f"{scheme}://{host}:{here.port}" for host in ("127.0.0.1", "localhost")}
    return frozenset({here.url, *(loopback if here.host == "127.0.0.1" else ())})


def _nobody_here(chosen: Path | None) -> CliError:
    """Say that no network was found, and what is the matter with the folder that was named."""
    if chosen is None:
        return Unreachable(say("error.no_gateway"), say("error.no_gateway.next"))
    folder = chosen.absolute()
    try:
        Folders(folder).up_record.stat()
    except PermissionError:
        return Unreachable(
            say_misuse("not_yours", folder=folder), say_misuse("not_yours.next", folder=folder)
        )
    except OSError:
        pass
    return Unreachable(
        say_misuse("not_up", folder=folder), say_misuse("not_up.next", folder=folder)
    )


def _network_here(chosen: Path | None) -> Target | None:
    record = find_any(default_data_dir()) if chosen is None else find(chosen.absolute())
    if record is None:
        return None
    key = read_key(Folders(Path(record.data_dir)).admin_key)
    return Target(record.url, record.host, record.port, key, Path(record.ca) if record.ca else None)


def read_key(path: Path) -> str:
    """Read a key file; empty when it is not there, or another user's."""
    try:
        return path.read_text(encoding="ascii")[:_LONGEST_KEY].strip()
    except (OSError, UnicodeDecodeError):
        return ""


def folder_named(text: str) -> Path:
    """Read the name of a folder; a `~` is the user's home, as in a shell. Raises: Misused."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise Misused(say_misuse("no_home", folder=text), say_misuse("no_home.next")) from None


def _folder_from_environment() -> Path | None:
    folder = os.environ.get("GAI_DATA_DIR")
    return folder_named(folder) if folder else None


def _base_url(text: str) -> str:
    """Give the URL without the slash and /v1 that people add. Raises: Misused."""
    url = text.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parts = urlsplit(url)
        # A name that no name server could be asked for is told here; `..` is soon typed.
        host = (parts.hostname or "").encode("idna")
        sound = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:
        sound = None
    if not sound:
        raise Misused(say("error.bad_url", url=text), say("error.bad_url.next"))
    return url


__all__ = [
    "Target",
    "find_target",
    "folder_named",
    "kept_ca",
    "read_key",
    "target_at",
    "untrusted_advice",
]
