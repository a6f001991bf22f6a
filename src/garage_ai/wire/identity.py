"""Who a node is: a key pair made on the node, whose private half never leaves its file.

IdentityError              code
├── IdentityMissing        identity_missing     no key file: enrol first
├── IdentityPresent        identity_present     there is one already
├── IdentityExposed        identity_exposed     others may read the key file
├── IdentityDamaged        identity_damaged     the key file holds no key
└── RotationRefused        rotation_refused     a rotation not signed by both keys

What is signed, each line ended by a newline:

    enrolment   gai-enrol-v1, nonce, sha256 of the token (hex), public key
    proof       gai-proof-v1, purpose, node id, nonce, public key
    rotation    gai-rotate-v1, node id, nonce, old public key, new public key
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import KeyPair, NkeyError, PublicKey, Role, verify
from garage_ai.wire.secret_files import (
    SecretDamaged,
    SecretExposed,
    SecretFileError,
    SecretMissing,
    SecretPresent,
    create_secret,
    read_secret,
    remove_secret,
    replace_secret,
    sync_folder,
)

KEY_FILE: Final = "node.nk"
JWT_FILE: Final = "node.jwt"
_NEXT: Final = ".next"

Signature = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
KeyText = Annotated[str, msgspec.Meta(min_length=56, max_length=56)]
Nonce = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Purpose = Literal["renew", "leave", "line"]


class IdentityError(Exception):
    """An identity that cannot be used; the message says what the owner can do."""

    code = "identity_error"


class IdentityMissing(IdentityError):
    code = "identity_missing"


class IdentityPresent(IdentityError):
    code = "identity_present"


class IdentityExposed(IdentityError):
    code = "identity_exposed"


class IdentityDamaged(IdentityError):
    code = "identity_damaged"


class RotationRefused(IdentityError):
    code = "rotation_refused"


_KINDS: Final[dict[type[SecretFileError], type[IdentityError]]] = {
    SecretMissing: IdentityMissing,
    SecretPresent: IdentityPresent,
    SecretExposed: IdentityExposed,
    SecretDamaged: IdentityDamaged,
}


def _as_identity_error(error: SecretFileError) -> IdentityError:
    return _KINDS.get(type(error), IdentityError)(str(error))


def token_digest(token: str) -> str:
    """Give the sha256 (hex) of a token's secret; a CA fingerprint behind it does not count."""
    return hashlib.sha256(token.strip().partition(".")[0].encode()).hexdigest()


def enrolment_text(nonce: str, token_sha256: str, public_key: str) -> bytes:
    """Say what a node signs to enrol."""
    return f"gai-enrol-v1\n{nonce}\n{token_sha256}\n{public_key}\n".encode()


def proof_text(purpose: Purpose, node: NodeId, nonce: str, public_key: str) -> bytes:
    """Say what a node signs to show over HTTP that it is itself."""
    return f"gai-proof-v1\n{purpose}\n{node}\n{nonce}\n{public_key}\n".encode()


def rotation_text(node: NodeId, nonce: str, old: str, new: str) -> bytes:
    """Say what both keys sign when one takes the other's place."""
    return f"gai-rotate-v1\n{node}\n{nonce}\n{old}\n{new}\n".encode()


def encode_signature(signature: bytes) -> str:
    """Write a signature as unpadded URL-safe base64."""
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def verify_text(public_key: str, text: bytes, signature: str) -> None:
    """Check a node's signature, given as unpadded URL-safe base64.

    Raises: NkeyError.
    """
    try:
        raw = base64.b64decode(signature + "=" * (-len(signature) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    verify(public_key, Role.USER, text, raw)


class NodeIdentity:
    """A node's key pair; signs, and shows only its public half."""

    __slots__ = ("_pair",)

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair

    @property
    def public_key(self) -> PublicKey:
        """The key as others know it."""
        return self._pair.public

    def sign(self, message: bytes) -> bytes:
        """Sign; 64 bytes."""
        return self._pair.sign(message)

    def sign_text(self, text: bytes) -> str:
        """Sign; unpadded URL-safe base64."""
        return encode_signature(self.sign(text))

    def __repr__(self) -> str:
        return f"NodeIdentity({self.public_key})"


class KeyRotation(msgspec.Struct, frozen=True):
    """Put a new key in a node's place: signed by the old one, proved by the new one."""

    node: Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
    new_public_key: KeyText
    nonce: Nonce
    signature: Signature
    proof: Signature


def make_rotation(node: NodeId, nonce: str, old: NodeIdentity, new: NodeIdentity) -> KeyRotation:
    """Sign over a node from its old key to its new one; the nonce comes from the gateway."""
    text = rotation_text(node, nonce, old.public_key, new.public_key)
    return KeyRotation(node, new.public_key, nonce, old.sign_text(text), new.sign_text(text))


def check_rotation(rotation: KeyRotation, old: PublicKey) -> None:
    """Check that the old key agreed and that the new one is held by the same hand.

    Raises: RotationRefused.
    """
    if rotation.new_public_key == old:
        raise RotationRefused("the new key is the old one")
    text = rotation_text(rotation.node, rotation.nonce, old, rotation.new_public_key)
    try:
        verify_text(old, text, rotation.signature)
        verify_text(rotation.new_public_key, text, rotation.proof)
    except NkeyError as error:
        raise RotationRefused(str(error)) from error


class IdentityFolder:
    """A node's folder of key and JWT (0700; files 0600).

    A rotation writes the new key beside the old one first, so that a crash between the
    gateway's yes and the rename leaves both keys, and `pending` finds the new one.
    """

    __slots__ = ("_unkept", "folder")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unkept: str | None = None

    def create(self) -> NodeIdentity:
        """Make a new key. Raises: IdentityPresent."""
        return self._create(KEY_FILE)

    def load(self) -> NodeIdentity:
        """Read the key. Raises: IdentityMissing, IdentityExposed, IdentityDamaged."""
        return self._load(KEY_FILE)

    def open_or_create(self) -> NodeIdentity:
        """Read the key, made now if there is none.

        Raises: IdentityExposed, IdentityDamaged.
        """
        try:
            return self.load()
        except IdentityMissing:
            pass
        try:
            return self.create()
        except IdentityPresent:
            return self.load()

    def begin_rotation(self) -> NodeIdentity:
        """Give the key that is to follow, made now if none was begun."""
        return self.pending() or self._create(KEY_FILE + _NEXT)

    def pending(self) -> NodeIdentity | None:
        """Give the key of a rotation that was begun and not ended."""
        try:
            return self._load(KEY_FILE + _NEXT)
        except IdentityMissing:
            return None

    def end_rotation(self) -> NodeIdentity:
        """Put the new key in the old one's place, for good. Raises: IdentityMissing."""
        new = self._load(KEY_FILE + _NEXT)
        (self.folder / (KEY_FILE + _NEXT)).replace(self.folder / KEY_FILE)
        sync_folder(self.folder)
        return new

    def save_jwt(self, jwt: str) -> None:
        """Keep the JWT that the network gave. Raises: OSError."""
        replace_secret(self.folder / JWT_FILE, jwt)
        self._unkept = None

    def hold_jwt(self, jwt: str) -> None:
        """Go by a JWT from now on, also where the disk cannot keep it. Raises: OSError then."""
        self._unkept = jwt
        self.save_jwt(jwt)

    def load_jwt(self) -> str:
        """Give the newest JWT. Raises: IdentityMissing, IdentityExposed, IdentityDamaged."""
        return self._unkept or self._read(JWT_FILE)

    def forget(self) -> None:
        """Remove keys and JWT; the node is nobody then."""
        self._unkept = None
        for name in (JWT_FILE, KEY_FILE + _NEXT, KEY_FILE):
            remove_secret(self.folder / name)

    def _read(self, name: str) -> str:
        try:
            return read_secret(self.folder / name)
        except SecretFileError as error:
            raise _as_identity_error(error) from error

    def _load(self, name: str) -> NodeIdentity:
        text = self._read(name)
        try:
            return NodeIdentity(KeyPair.from_seed(text, Role.USER))
        except NkeyError as error:
            path = self.folder / name
            raise IdentityDamaged(
                f"{path} holds no key ({error}). Restore it from a backup, or remove it and "
                "enrol again with a new token."
            ) from error

    def _create(self, name: str) -> NodeIdentity:
        pair = KeyPair.generate(Role.USER)
        try:
            create_secret(self.folder / name, pair.seed() + "\n")
        except SecretFileError as error:
            raise _as_identity_error(error) from error
        return NodeIdentity(pair)


class NodeCredentials:
    """What a node shows NATS: the JWT as last saved, read anew at every connect, and a signature.

    The node may hold a JWT for a key of a rotation that was begun; `identity` is asked each time
    so that a rotation needs no new object.
    """

    __slots__ = ("_folder", "_identity")

    def __init__(self, folder: IdentityFolder, identity: Callable[[], NodeIdentity]) -> None:
        self._folder = folder
        self._identity = identity

    def jwt(self) -> str:
        """Give the JWT. Raises: IdentityError."""
        return self._folder.load_jwt()

    def sign(self, nonce: bytes) -> bytes:
        """Sign the server's nonce; 64 bytes. Raises: IdentityError."""
        return self._identity().sign(nonce)
