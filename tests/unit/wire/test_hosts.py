"""Which hosts only this machine can reach."""

import pytest

from garage_ai.wire.hosts import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    """Names other than localhost may lead anywhere."""
    assert is_loopback(host) is expected
