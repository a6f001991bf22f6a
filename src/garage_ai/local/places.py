"""Where a local network listens and how it is reached: pure decisions from the options."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.local.errors import BadOptions, TlsNeeded
from garage_ai.local.folders import Folders
from garage_ai.local.tls import Certificates
from garage_ai.wire.hosts import is_loopback

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - only with TLS or by --insecure, see `bind_host`
_LAST_PORT: Final = 65_535
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?\Z")
"""RFC 1123, and the underscore that containers' names have."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `gai up` was told; ports may be 0 for any free one, `host` None for the default."""

    data_dir: Path
    host: str | None = None
    port: int = 8000
    nats_port: int = 4222
    node: bool = True
    public: str | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where the network listens and how it is reached.

    `url` is for everybody, `address` (host, port) is how this machine gets there.
    """

    bind: str
    port: int
    nats_port: int
    name: str
    certificates: Certificates | None

    @property
    def url(self) -> str:
        """The gateway's base URL, without /v1."""
        return self._url(self.name)

    @property
    def own_url(self) -> str:
        """The same for a node on this machine, which may find no way back in from outside."""
        return self._url(self._own_name)

    @property
    def address(self) -> tuple[str, int]:
        """Where a client on this machine connects to."""
        return (LOOPBACK if self.bind == EVERYWHERE else self.bind), self.port

    @property
    def node_nats_urls(self) -> tuple[str, str]:
        """What nodes dial: TCP first, WebSocket for those behind a strict router."""
        return self._nats_urls(self.name)

    @property
    def own_nats_urls(self) -> tuple[str, str]:
        """What processes on this machine dial."""
        return self._nats_urls(self._own_name)

    @property
    def _own_name(self) -> str:
        """Give the name by which this machine reaches itself, which the certificate has too."""
        # An own certificate names this machine's loopback besides; a given one need not.
        own = self.certificates is None or self.certificates.ca is not None
        here = self.address[0]
        plain = self.certificates is None
        return here if plain or (own and is_loopback(here)) else self.name

    def _url(self, host: str) -> str:
        scheme = "https" if self.certificates else "http"
        return f"{scheme}://{_bracketed(host)}:{self.port}"

    def _nats_urls(self, host: str) -> tuple[str, str]:
        tcp, web = ("tls", "wss") if self.certificates else ("nats", "ws")
        name = _bracketed(host)
        return f"{tcp}://{name}:{self.nats_port}", f"{web}://{name}:{self.nats_port + 1}"


def check_options(options: UpOptions) -> None:
    """Find options that contradict each other. Raises: BadOptions, TlsNeeded."""
    if options.public and options.insecure:
        raise BadOptions("--public brings TLS and --insecure goes without: give one of them")
    if (options.cert is None) != (options.key is None):
        raise BadOptions("--cert and --key belong together")
    if options.cert is not None and not options.public:
        raise BadOptions("--cert and --key need --public HOST")
    if options.public is not None and not _is_host(options.public):
        raise BadOptions("--public takes a host name or an address alone, as gpu.example.org")
    _check_ports(options.port, options.nats_port)
    if not options.public and not options.insecure and not is_loopback(bind_host(options)):
        raise TlsNeeded(bind_host(options))


def _check_ports(port: int, nats_port: int) -> None:
    # The WebSocket listener is on the next port.
    if nats_port and (nats_port == _LAST_PORT or port in (nats_port, nats_port + 1)):
        raise BadOptions("--port and --nats-port collide; the port after --nats-port is used too")


def bind_host(options: UpOptions) -> str:
    """Say where to listen."""
    return options.host or (EVERYWHERE if options.public else LOOPBACK)


def _is_host(text: str) -> bool:
    """Tell whether a text can stand as the host of a URL."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return _HOST_NAME.match(text) is not None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def gateway_environment(
    inherited: Mapping[str, str], folders: Folders, place: Place, *, insecure: bool
) -> dict[str, str]:
    """Give the gateway's environment; what the owner set beyond this stays."""
    told = {
        "GAI_HOST": place.bind,
        "GAI_PORT": str(place.port),
        "GAI_DATA_DIR": str(folders.data),
        "GAI_AUTHORITY_DIR": str(folders.nats),
        "GAI_NATS_URLS": ",".join(place.own_nats_urls),
        "GAI_NODE_NATS_URLS": ",".join(place.node_nats_urls),
        "GAI_INSECURE": "true" if insecure else "false",
    }
    tls = ("GAI_TLS_CERT", "GAI_TLS_KEY", "GAI_TLS_CA")
    kept = {name: value for name, value in inherited.items() if name not in tls}
    if place.certificates is not None:
        told["GAI_TLS_CERT"] = str(place.certificates.files.cert)
        told["GAI_TLS_KEY"] = str(place.certificates.files.key)
        if place.certificates.ca is not None:
            told["GAI_TLS_CA"] = str(place.certificates.ca)
    return kept | told


__all__ = [
    "Place",
    "UpOptions",
    "bind_host",
    "check_options",
    "gateway_environment",
]
