"""What keeps an invite from being accepted is told in the user's words."""

import pytest

from garage_ai.cli.errors import CliError, Failed, Misused, Unreachable
from garage_ai.cli.member import _own_ca, _untrusted
from garage_ai.wire.trust import BadCertificate, CaUnavailable, TrustError, WrongFingerprint

URL = "https://gai.example:8000"


def caused(error: TrustError, cause: Exception) -> TrustError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (WrongFingerprint("the token"), Unreachable, "the one in the invite"),
        (
            caused(CaUnavailable("x"), ConnectionRefusedError(111, "Connection refused")),
            Unreachable,
            f"{URL} cannot be reached: Connection refused.",
        ),
        (caused(CaUnavailable("x"), TimeoutError("timed out")), Unreachable, "reached: timed out."),
        (CaUnavailable("it answered 404 for its CA"), Failed, "no Garage AI gateway says"),
        (BadCertificate("not a certificate"), Failed, "no Garage AI gateway says"),
    ],
)
def test_a_ca_that_cannot_be_had(error: TrustError, kind: type[CliError], words: str) -> None:
    """With what to do next, and of an invite, which is no token."""
    told = _untrusted(error, URL)
    assert type(told) is kind
    assert words in told.message
    assert told.advice


def test_a_ca_without_tls() -> None:
    """The address is what is wrong there."""
    with pytest.raises(Misused, match="is not the URL of a gateway"):
        _own_ca("http://gai.example:8000", "gaii_x." + "0" * 64)
