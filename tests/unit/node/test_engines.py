"""Names and addresses of engines."""

import hashlib
import json

import pytest

from garage_ai.node.engines.external import ExternalEngine, external_digest
from garage_ai.node.engines.link import base_of
from garage_ai.node.engines.port import PATHS
from garage_ai.node.errors import NotPossible
from garage_ai.node.gateway_client import gateway_base, is_encrypted


def test_an_external_model_is_named_after_its_member() -> None:
    """The digest is the sha256 of `external`, member and name, joined by NUL."""
    expected = hashlib.sha256(b"external\0mbr_1\0my-model").hexdigest()
    assert external_digest("mbr_1", "my-model") == f"sha256:{expected}"
    assert external_digest("mbr_2", "my-model") != external_digest("mbr_1", "my-model")


def test_only_three_paths_are_ever_forwarded() -> None:
    """A new path is a decision, not an accident."""
    assert sorted(PATHS.values()) == ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://host/prefix/v1", "https://host/prefix"),
        (" http://host/ ", "http://host"),
    ],
)
def test_an_engines_address_may_be_given_with_or_without_v1(given: str, base: str) -> None:
    """`/v1` and slashes at the end are no part of the base."""
    assert base_of(given) == base


@pytest.mark.parametrize(
    "given",
    ["", "host:80", "ftp://host", "http://", "http://user@host", "http://h/v1?a=b", "http://h:0"],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    """The owner is told what an address looks like."""
    with pytest.raises(NotPossible, match="http://HOST:PORT/v1"):
        base_of(given)


def test_a_gateways_address_may_be_given_with_v1() -> None:
    """What works in an OpenAI client works here."""
    assert gateway_base("http://host:8000/v1/") == "http://host:8000"
    assert gateway_base("https://host/ai") == "https://host/ai"
    with pytest.raises(NotPossible):
        gateway_base("host:8000")


@pytest.mark.parametrize(
    "text",
    ["http://[::1", "http://host:nine", "http://host:0", "https://me:word@host", "ftp://host"],
)
def test_what_is_no_address_of_a_gateway_is_told_as_such(text: str) -> None:
    """However it is misspelt; a password in it would be kept and shown."""
    with pytest.raises(NotPossible, match="no address of a gateway"):
        gateway_base(text)


@pytest.mark.parametrize(
    ("base", "told"),
    [("https://host", True), ("http://127.0.0.1:8000", True), ("http://10.0.0.7:8000", False)],
)
def test_who_can_listen_on_the_way(base: str, told: bool) -> None:
    """Nobody where there is TLS, or no way."""
    assert is_encrypted(base) is told


@pytest.mark.anyio
async def test_the_owners_own_server_is_never_asked_to_fetch() -> None:
    """Not even connected to: its link is not open here. The code is the gateways' own."""
    engine = ExternalEngine("http://127.0.0.1:1", ["m"], member="mbr_1")
    body = b'{"messages":[{"content":[{"image_url":{"url":"http://192.168.1.1/"}}]}]}'
    answer = await engine.ask("chat", body, offer=engine.offers[0], stream=True)
    assert answer.status == 400
    assert json.loads(await answer.read())["error"]["code"] == "media_url_unsupported"
