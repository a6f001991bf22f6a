"""How two rigs prove to each other that they hold the group's secret. Pure.

    dialer   → hello (who, which run of it, 32 random bytes)
    acceptor → hello, and its proof
    dialer   → its proof

A proof is an HMAC-SHA256 under the secret over both hellos and the role of who proves, so that
none can be sent back or used again. Two keys, one for each way, are made of the same and sign all
that follows together with its number: nothing is put in, left out, doubled or changed unnoticed.
Nothing is hidden: what rigs tell each other is no secret, and the secret itself is never sent.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from garage_ai.node.group.errors import BadPeer
from garage_ai.node.group.messages import Id
from garage_ai.wire.ids import NodeId

VERSION: Final = 1
PROOF: Final = 32
_NONCE: Final = 32
_LABEL: Final = b"garage-ai group link 1 "

Role = Literal["dialer", "acceptor"]
OTHER: Final[dict[Role, Role]] = {"dialer": "acceptor", "acceptor": "dialer"}


class Hello(msgspec.Struct, frozen=True):
    """What each says first; `run` is another one after each start of the agent."""

    version: int
    node: Id
    run: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=_NONCE, max_length=_NONCE)]


_hellos: Final = msgspec.msgpack.Decoder(Hello)


def hello(node: NodeId, run: str) -> bytes:
    """Make a rig's hello."""
    return msgspec.msgpack.encode(Hello(VERSION, node, run, secrets.token_bytes(_NONCE)))


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what goes one way, message by message."""

    key: bytes

    def sign(self, number: int, payload: bytes) -> bytes:
        """Give the signature of a message."""
        return hmac.digest(self.key, number.to_bytes(8, "big") + payload, "sha256")

    def check(self, number: int, payload: bytes, signature: bytes) -> None:
        """See that a message is what was sent. Raises: BadPeer."""
        if not hmac.compare_digest(self.sign(number, payload), signature):
            raise BadPeer("a message of another rig is not what it sent")


class Handshake:
    """One side of it, once both hellos are there. Raises: BadPeer for a hello of nobody we know."""

    def __init__(self, secret: bytes, role: Role, own: bytes, theirs: bytes) -> None:
        self._secret = secret
        self._role: Role = role
        first, second = (own, theirs) if role == "dialer" else (theirs, own)
        self._said = len(first).to_bytes(4, "big") + first + second
        self.peer = self._read(theirs)
        if self.peer.node == self._read(own).node:
            raise BadPeer("this rig has dialled itself")

    @staticmethod
    def _read(said: bytes) -> Hello:
        try:
            found = _hellos.decode(said)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadPeer("who is there does not speak as a rig does") from error
        if found.version != VERSION:
            raise BadPeer(
                "{node} speaks version {theirs} of a group's language, this rig {ours}: update "
                "the older one",
                node=found.node,
                theirs=found.version,
                ours=VERSION,
            )
        return found

    @property
    def proof(self) -> bytes:
        """What shows that this side holds the secret."""
        return self._hash(f"proof of {self._role}")

    def check(self, proof: bytes) -> None:
        """See that the other side holds the secret. Raises: BadPeer."""
        if not hmac.compare_digest(self._hash(f"proof of {OTHER[self._role]}"), proof):
            raise BadPeer("{node} does not hold this group's secret", node=self.peer.node)

    @property
    def signs(self) -> Signer:
        """For what this side sends."""
        return Signer(self._hash(f"key of {self._role}"))

    @property
    def checks(self) -> Signer:
        """For what the other side sends."""
        return Signer(self._hash(f"key of {OTHER[self._role]}"))

    def _hash(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, _LABEL + purpose.encode() + b"\0" + self._said, "sha256")


__all__ = ["OTHER", "PROOF", "Handshake", "Hello", "Role", "Signer", "hello"]
