"""NATS JWT version 2: operator, account and user claims, encoded, decoded and verified.

Only the fields that this network uses. Limits are finite by type: what is signed here can never
say "no limit". The format is that of github.com/nats-io/jwt; nats-server is the judge in the tests.

ClaimsError            code
├── NotClaims          not_claims         not a JWT of ours, or a field out of its range
├── ForgedClaims       forged_claims      the signature does not match
├── UntrustedIssuer    untrusted_issuer   signed by a key that may not sign this
└── ExpiredClaims      expired_claims     past its end
"""

import base64
import binascii
import hashlib
from collections.abc import Collection
from typing import Annotated, Final

import msgspec

from garage_ai.wire.nkey import KeyPair, NkeyError, PublicKey, Role, role_of, verify

MAX_TOKEN: Final = 1024 * 1024
"""Longest JWT in characters; an account's holds its revocations."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
"""Seconds since 1970."""
Label = Annotated[str, msgspec.Meta(max_length=256)]
Key = Annotated[str, msgspec.Meta(min_length=56, max_length=56)]
Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Subjects = Annotated[tuple[Subject, ...], msgspec.Meta(max_length=64)]
Keys = Annotated[tuple[Key, ...], msgspec.Meta(max_length=64)]
Revocations = Annotated[
    dict[Annotated[str, msgspec.Meta(min_length=1, max_length=56)], Seconds],
    msgspec.Meta(max_length=8_000),
]
"""By public key, or `*` for all. As many as fit into one NATS message of 1 MiB."""


class ClaimsError(Exception):
    """A JWT that is not to be believed."""

    code = "claims_error"


class NotClaims(ClaimsError):
    code = "not_claims"


class ForgedClaims(ClaimsError):
    code = "forged_claims"


class UntrustedIssuer(ClaimsError):
    code = "untrusted_issuer"


class ExpiredClaims(ClaimsError):
    code = "expired_claims"


class Permission(msgspec.Struct, frozen=True, omit_defaults=True):
    """Subjects allowed and denied; an empty `allow` allows all, so it is never left empty."""

    allow: Subjects = ()
    deny: Subjects = ()


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    # No default: omit_defaults must not swallow what the server reads the format from.
    version: Annotated[int, msgspec.Meta(ge=2, le=2)]


class Operator(_Body, frozen=True, kw_only=True, tag="operator"):
    """The root of trust: which keys may sign accounts, and which account is the system's."""

    signing_keys: Keys = ()
    system_account: Key | None = None


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an account may use; bytes for `payload`. Streams and leaf nodes stay at none."""

    subs: Count
    data: Count
    payload: Count
    conn: Count
    imports: Count = 0
    exports: Count = 0
    leaf: Count = 0
    disallow_bearer: bool = True


class Account(_Body, frozen=True, kw_only=True, tag="account"):
    """An account: its limits, the keys that may sign its users, and the users cut off.

    `revocations` maps a public key to a time; JWTs of that key issued then or before are void.
    """

    limits: AccountLimits
    signing_keys: Keys = ()
    revocations: Revocations = {}


class User(_Body, frozen=True, kw_only=True, tag="user"):
    """A user: what it may publish and hear, and how much. `payload` in bytes."""

    pub: Permission
    sub: Permission
    subs: Count
    data: Count
    payload: Count
    issuer_account: Key | None = None
    allowed_connection_types: Annotated[tuple[Label, ...], msgspec.Meta(max_length=8)] = ()


class Claims(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole claim: `sub` is whom it is about, `iss` who signed it."""

    sub: Key
    iat: Seconds
    nats: Operator | Account | User
    name: Label = ""
    exp: Seconds | None = None
    iss: Key | None = None
    jti: Label = ""


class _Header(msgspec.Struct, frozen=True):
    typ: Label
    alg: Label


_HEADER: Final = _Header(typ="JWT", alg="ed25519-nkey")
_claims: Final = msgspec.json.Decoder(Claims)
_headers: Final = msgspec.json.Decoder(_Header)
_SUBJECT_ROLE: Final = {Operator: Role.OPERATOR, Account: Role.ACCOUNT, User: Role.USER}
_ISSUER_ROLE: Final = {Operator: Role.OPERATOR, Account: Role.OPERATOR, User: Role.ACCOUNT}


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _to_bytes(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotClaims("not base64") from error
    if _to_text(raw) != text:
        raise NotClaims("not base64 in its one spelling")
    return raw


def _digest(claims: Claims) -> str:
    # The server takes two JWTs with one `jti` for the same, so it covers all of the content.
    raw = hashlib.sha256(msgspec.json.encode(claims)).digest()
    return base64.b32encode(raw).decode().rstrip("=")


def _check_keys(claims: Claims) -> None:
    """Check that subject and issuer have the roles that this kind of claim needs."""
    kind = type(claims.nats)
    try:
        subject, issuer = role_of(claims.sub), role_of(claims.iss or "")
    except NkeyError as error:
        raise NotClaims(f"a key in the claims: {error}") from error
    if subject is not _SUBJECT_ROLE[kind] or issuer is not _ISSUER_ROLE[kind]:
        raise NotClaims("subject or issuer is a key of the wrong role")


def encode(claims: Claims, signer: KeyPair) -> str:
    """Sign claims; sets `iss` and `jti`.

    Raises: NotClaims if a field is out of its range, or the signer's role may not sign this.
    """
    signed = msgspec.structs.replace(claims, iss=signer.public, jti="")
    signed = msgspec.structs.replace(signed, jti=_digest(signed))
    raw = msgspec.json.encode(signed)
    _check_keys(_decode_body(raw))
    text = f"{_to_text(msgspec.json.encode(_HEADER))}.{_to_text(raw)}"
    return f"{text}.{_to_text(signer.sign(text.encode()))}"


def _decode_body(raw: bytes) -> Claims:
    try:
        return _claims.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise NotClaims(str(error)[:200]) from error


def _decode_header(raw: bytes) -> None:
    try:
        header = _headers.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise NotClaims(str(error)[:200]) from error
    if header != _HEADER:
        raise NotClaims("a JWT of another kind")


def decode(text: str, *, issuers: Collection[PublicKey] | None, now: float | None = None) -> Claims:
    """Read and verify a JWT.

    `issuers` are the keys that may have signed it; None takes any and only checks the signature
    against the issuer named inside, which says nothing about trust. `now` in seconds since 1970
    checks the end, too.

    Raises: NotClaims, ForgedClaims, UntrustedIssuer, ExpiredClaims.
    """
    if len(text) > MAX_TOKEN or not text.isascii():
        raise NotClaims("not a JWT")
    head, dot, signature = text.rpartition(".")
    parts = head.split(".")
    if not dot or len(parts) != 2:
        raise NotClaims("a JWT has three parts")
    _decode_header(_to_bytes(parts[0]))
    claims = _decode_body(_to_bytes(parts[1]))
    _check_keys(claims)
    _verify(claims, head, _to_bytes(signature), issuers)
    if now is not None and claims.exp is not None and now >= claims.exp:
        raise ExpiredClaims(f"ended at {claims.exp}")
    return claims


def _verify(
    claims: Claims, signed: str, signature: bytes, issuers: Collection[PublicKey] | None
) -> None:
    issuer = PublicKey(claims.iss or "")
    if issuers is not None and issuer not in issuers:
        raise UntrustedIssuer("signed by a key that may not sign this")
    try:
        verify(issuer, _ISSUER_ROLE[type(claims.nats)], signed.encode(), signature)
    except NkeyError as error:
        raise ForgedClaims(str(error)) from error
