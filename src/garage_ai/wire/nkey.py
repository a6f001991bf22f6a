"""Ed25519 keys in NATS's own text form (NKEY): base32 of prefix, key and CRC-16.

NkeyError          code
├── BadKey         bad_key         not a key of the kind expected, or its checksum is wrong
└── BadSignature   bad_signature   the signature is not this key's over this text
"""

import base64
import binascii
from enum import Enum
from typing import Final, NewType, NoReturn

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

PublicKey = NewType("PublicKey", str)
"""56 characters; the first letter tells the role: O operator, A account, U user."""

SIGNATURE_BYTES: Final = 64
_CRC_BYTES: Final = 2
_PUBLIC_CHARS: Final = 56
_SEED_CHARS: Final = 58
_SEED_PREFIX: Final = 18 << 3


class Role(Enum):
    """What a key may stand for, with NATS's prefix byte."""

    OPERATOR = 14 << 3
    ACCOUNT = 0
    USER = 20 << 3


class NkeyError(Exception):
    """Anything wrong with a key or a signature."""

    code = "nkey_error"


class BadKey(NkeyError):
    code = "bad_key"


class BadSignature(NkeyError):
    code = "bad_signature"


def _with_checksum(body: bytes) -> str:
    # NATS uses CRC-16/XMODEM, little-endian; crc_hqx is that polynomial.
    crc = binascii.crc_hqx(body, 0).to_bytes(_CRC_BYTES, "little")
    return base64.b32encode(body + crc).decode().rstrip("=")


def _without_checksum(text: str, length: int) -> bytes:
    if len(text) != length or not text.isascii():
        raise BadKey(f"a key has {length} characters")
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error as error:
        raise BadKey("not base32") from error
    body = raw[:-_CRC_BYTES]
    # Compared as text: base32 leaves spare bits, and one key has one spelling only.
    if _with_checksum(body) != text:
        raise BadKey("checksum does not match")
    return body


def encode_public(role: Role, raw: bytes) -> PublicKey:
    """Write a raw Ed25519 public key (32 bytes) as text."""
    return PublicKey(_with_checksum(bytes([role.value]) + raw))


def decode_public(text: str, role: Role) -> bytes:
    """Read the raw 32 bytes of a public key of one role.

    Raises: BadKey.
    """
    body = _without_checksum(text, _PUBLIC_CHARS)
    if body[0] != role.value:
        raise BadKey(f"not a public key of role {role.name.lower()}")
    return body[1:]


def public_key(text: str, role: Role) -> PublicKey:
    """Check a text that claims to be a public key.

    Raises: BadKey.
    """
    decode_public(text, role)
    return PublicKey(text)


def role_of(text: str) -> Role:
    """Tell the role of a public key.

    Raises: BadKey.
    """
    body = _without_checksum(text, _PUBLIC_CHARS)
    try:
        return Role(body[0])
    except ValueError as error:
        raise BadKey("a public key of no role we know") from error


def verify(public: str, role: Role, message: bytes, signature: bytes) -> None:
    """Check a signature of 64 bytes.

    Raises: BadKey, BadSignature.
    """
    key = VerifyKey(decode_public(public, role))
    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(f"a signature has {SIGNATURE_BYTES} bytes")
    try:
        key.verify(message, signature)
    except BadSignatureError as error:
        raise BadSignature("the signature does not match") from error


class KeyPair:
    """A private key and its role; shows itself only by its public half."""

    __slots__ = ("_signing", "public", "role")

    def __init__(self, role: Role, raw_seed: bytes) -> None:
        self._signing = SigningKey(raw_seed)
        self.role = role
        self.public = encode_public(role, self._signing.verify_key.encode())

    @classmethod
    def generate(cls, role: Role) -> "KeyPair":
        """Make a new random key."""
        return cls(role, SigningKey.generate().encode())

    @classmethod
    def from_seed(cls, text: str, role: Role) -> "KeyPair":
        """Read a key from its seed text (58 characters, `S…`).

        Raises: BadKey; its message never holds the seed.
        """
        body = _without_checksum(text, _SEED_CHARS)
        prefix = (body[0] & 7) << 5 | (body[1] & 248) >> 3
        if body[0] & 248 != _SEED_PREFIX or prefix != role.value:
            raise BadKey(f"not a seed of role {role.name.lower()}")
        return cls(role, body[2:])

    def seed(self) -> str:
        """Write the private half as text; for the key's own file and nothing else."""
        head = bytes([_SEED_PREFIX | self.role.value >> 5, (self.role.value & 31) << 3])
        return _with_checksum(head + self._signing.encode())

    def sign(self, message: bytes) -> bytes:
        """Sign; 64 bytes."""
        return self._signing.sign(message).signature

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not copied into other processes")
