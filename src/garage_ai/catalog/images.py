"""Images of engines that this version knows: what may be pulled, by digest.

A digest of null in images.json is not known yet: it is pinned at a node's first pull, told to the
network, and waits there for an administrator. One that is written there was compared with its
publisher's when this version was made, and is approved with it.
"""

from importlib import resources
from typing import Annotated, Final

import msgspec

Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]


class Allowed(msgspec.Struct, frozen=True):
    """An image that may be pulled; `digest` None where it is to be pinned at the first pull."""

    reference: str
    digest: Digest | None


_images: Final = msgspec.json.Decoder(dict[str, Allowed])


def allowed_images() -> dict[str, Allowed]:
    """Give the allow-list, by what each image is for."""
    return _images.decode((resources.files(__package__) / "images.json").read_bytes())


def allowed(name: str) -> Allowed:
    """Give an image of the allow-list. Raises: KeyError."""
    return allowed_images()[name]


def known_digests() -> frozenset[str]:
    """Give the digests that come approved with this version."""
    return frozenset(each.digest for each in allowed_images().values() if each.digest is not None)


__all__ = ["Allowed", "Digest", "allowed", "allowed_images", "known_digests"]
