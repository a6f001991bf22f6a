"""What may be pulled is named by digest, or openly not known yet."""

import pytest

from garage_ai.catalog import images
from garage_ai.catalog.images import Allowed, allowed, allowed_images, known_digests


def test_the_list_is_sound() -> None:
    """Every image has a registry and a tag; a digest is one or is missing, never a guess."""
    for name, image in allowed_images().items():
        assert allowed(name) == image
        repository, _, tag = image.reference.rpartition(":")
        assert repository.count("/") == 2
        assert tag


def test_only_what_is_known_comes_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unresolved digest approves nothing."""
    digest = "sha256:" + "a" * 64
    known = {"a": Allowed("ghcr.io/x/a:1", digest), "b": Allowed("ghcr.io/x/b:1", None)}
    monkeypatch.setattr(images, "allowed_images", lambda: known)
    assert known_digests() == {digest}
