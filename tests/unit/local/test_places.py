"""Where a network listens and how it is reached."""

from pathlib import Path

import pytest

from garage_ai.local.errors import BadOptions, TlsNeeded
from garage_ai.local.folders import Folders
from garage_ai.local.nats_server import TlsFiles
from garage_ai.local.places import (
    EVERYWHERE,
    Place,
    UpOptions,
    bind_host,
    check_options,
    gateway_environment,
)
from garage_ai.local.tls import Certificates

FOLDER = Path("/data")
FILES = TlsFiles(Path("/tls/server.pem"), Path("/tls/server.key"))
OWN = Certificates(FILES, Path("/tls/ca.pem"), "PEM", "ab")
GIVEN = Certificates(FILES)


def test_alone_everything_stays_on_this_machine() -> None:
    """Plain HTTP and NATS on loopback, for nodes and for ourselves."""
    place = Place("127.0.0.1", 8000, 4222, "127.0.0.1", None)
    assert place.url == "http://127.0.0.1:8000"
    assert place.address == ("127.0.0.1", 8000)
    assert place.own_nats_urls == place.node_nats_urls
    assert place.node_nats_urls == ("nats://127.0.0.1:4222", "ws://127.0.0.1:4223")


def test_public_with_an_own_ca() -> None:
    """Others come by name; ourselves by loopback, which the own certificate names too."""
    place = Place(EVERYWHERE, 443, 4222, "gai.example", OWN)
    assert place.url == "https://gai.example:443"
    assert place.address == ("127.0.0.1", 443)
    assert place.node_nats_urls == ("tls://gai.example:4222", "wss://gai.example:4223")
    assert place.own_nats_urls == ("tls://127.0.0.1:4222", "wss://127.0.0.1:4223")
    assert place.own_url == "https://127.0.0.1:443"


def test_public_with_a_given_certificate() -> None:
    """A given certificate names the host alone, so we dial it by that name as well."""
    place = Place(EVERYWHERE, 443, 4222, "gai.example", GIVEN)
    assert place.own_nats_urls == place.node_nats_urls
    assert place.own_url == place.url


def test_an_address_with_colons_stands_in_brackets() -> None:
    """IPv6 in a URL, RFC 3986."""
    place = Place("::1", 8000, 4222, "::1", None)
    assert place.url == "http://[::1]:8000"
    assert place.own_nats_urls[0] == "nats://[::1]:4222"


@pytest.mark.parametrize(
    ("options", "bind"),
    [
        (UpOptions(FOLDER), "127.0.0.1"),
        (UpOptions(FOLDER, public="gai.example"), EVERYWHERE),
        (UpOptions(FOLDER, public="gai.example", host="192.0.2.1"), "192.0.2.1"),
        (UpOptions(FOLDER, host=EVERYWHERE, insecure=True), EVERYWHERE),
    ],
)
def test_what_is_bound(options: UpOptions, bind: str) -> None:
    """Loopback unless the owner opens it."""
    check_options(options)
    assert bind_host(options) == bind


@pytest.mark.parametrize("host", [EVERYWHERE, "192.0.2.1", "::", "gai.example"])
def test_nothing_is_open_without_tls(host: str) -> None:
    """Off loopback means TLS, unless the owner says otherwise aloud."""
    with pytest.raises(TlsNeeded):
        check_options(UpOptions(FOLDER, host=host))
    check_options(UpOptions(FOLDER, host=host, insecure=True))


@pytest.mark.parametrize(
    "public",
    [
        "https://gai.example:8000",
        "gai.example:8000",
        "a b",
        "",
        "bad_host!",
        "-a.b",
        "a..b",
        "a" * 64,
    ],
)
def test_public_takes_a_host_and_nothing_more(public: str) -> None:
    """What is no host is refused at once: in a URL it would never be reached."""
    with pytest.raises(BadOptions):
        check_options(UpOptions(FOLDER, public=public))


@pytest.mark.parametrize(
    "public", ["gai.example", "a.b.", "my_box", "localhost", "192.0.2.1", "::1"]
)
def test_public_takes_names_and_addresses(public: str) -> None:
    """IPv6 too."""
    check_options(UpOptions(FOLDER, public=public))


@pytest.mark.parametrize("port", [4222, 4223])
def test_ports_do_not_collide(port: int) -> None:
    """The WebSocket listener needs the port after NATS."""
    with pytest.raises(BadOptions):
        check_options(UpOptions(FOLDER, port=port, nats_port=4222))


def test_any_free_ports_never_collide() -> None:
    """0 is no port."""
    check_options(UpOptions(FOLDER, port=0, nats_port=0))


def test_the_gateway_is_told_where_it_lives() -> None:
    """What the owner set beyond that stays; stale TLS settings do not."""
    place = Place("127.0.0.1", 8000, 4222, "127.0.0.1", None)
    inherited = {"GAI_MAX_BODY": "1024", "GAI_PORT": "1", "GAI_TLS_CERT": "/old", "PATH": "/bin"}
    told = gateway_environment(inherited, Folders(FOLDER), place, insecure=False)
    assert told == {
        "PATH": "/bin",
        "GAI_MAX_BODY": "1024",
        "GAI_HOST": "127.0.0.1",
        "GAI_PORT": "8000",
        "GAI_DATA_DIR": "/data",
        "GAI_AUTHORITY_DIR": "/data/nats",
        "GAI_NATS_URLS": "nats://127.0.0.1:4222,ws://127.0.0.1:4223",
        "GAI_NODE_NATS_URLS": "nats://127.0.0.1:4222,ws://127.0.0.1:4223",
        "GAI_INSECURE": "false",
    }


def test_the_gateway_is_told_its_certificates() -> None:
    """Chain, key, and the CA whose fingerprint goes into tokens."""
    place = Place(EVERYWHERE, 443, 4222, "gai.example", OWN)
    told = gateway_environment({}, Folders(FOLDER), place, insecure=False)
    assert told["GAI_TLS_CERT"] == "/tls/server.pem"
    assert told["GAI_TLS_KEY"] == "/tls/server.key"
    assert told["GAI_TLS_CA"] == "/tls/ca.pem"
