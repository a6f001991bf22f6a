"""What the network is told of the accounts' books."""

from datetime import UTC, datetime

import pytest

from garage_ai.accounts import DecidedImage
from garage_ai.gateway import books
from garage_ai.gateway.books import image_list
from garage_ai.wire.messages import EngineImage

SHIPPED = "sha256:" + "a" * 64
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_what_came_with_this_version_is_approved_until_it_is_revoked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An administrator's word goes before the release's."""
    monkeypatch.setattr(books, "known_digests", lambda: frozenset({SHIPPED}))
    assert image_list([]).state(EngineImage(SHIPPED)) == "approved"
    other = DecidedImage("sha256:" + "b" * 64, "", NOW, revoked=False)
    both = image_list([other, DecidedImage(SHIPPED, "", NOW, revoked=True)])
    assert both.state(EngineImage(SHIPPED)) == "revoked"
    assert both.state(EngineImage(other.digest)) == "approved"
