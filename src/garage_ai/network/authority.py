"""Who may say what in the network: issues users' JWTs and keeps the list of those cut off."""

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from garage_ai.network.authority_errors import (
    AuthorityDamaged,
    AuthorityLocked,
    BadNodeKey,
    ForeignAccount,
)
from garage_ai.network.authority_keys import (
    FOLDER,
    GARAGE_JWT,
    LOCK,
    Keys,
    create_keys,
    load_keys,
)
from garage_ai.wire import subjects
from garage_ai.wire.claims import (
    Account,
    Claims,
    ClaimsError,
    Permission,
    User,
    decode,
    encode,
)
from garage_ai.wire.ids import GatewayId, NodeId, is_token
from garage_ai.wire.nkey import BadKey, KeyPair, PublicKey, Role, public_key
from garage_ai.wire.secret_files import make_private_folder, replace_secret

DAY: Final = 86_400
NODE_LIFE: Final = 30 * DAY
LONGEST_LIFE: Final = 366 * DAY
SYSTEM_LIFE: Final = 300
SYSTEM_INBOX: Final = "_INBOX.gai"
CLAIMS_UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
CLAIMS_LOOKUP: Final = "$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP"

# A node subscribes once; the rest is room for an agent that reconnects.
_NODE_SUBS: Final = 8
# Packets are at most 64 KiB, and as much again for what surrounds them.
_NODE_PAYLOAD: Final = 128 * 1024
_GATEWAY_SUBS: Final = 1_000
_GATEWAY_PAYLOAD: Final = 1024 * 1024
_NODE_DATA: Final = 2**45
_CONNECTIONS: Final = ("STANDARD", "WEBSOCKET")
_REVOCATIONS_KEPT: Final = 5_000
_ALL: Final = "*"
_LOCK_SECONDS: Final = 10.0
_VERSION: Final = 2

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class UserCredentials:
    """A key pair made for one process and a JWT minted anew at every connect."""

    pair: KeyPair
    mint: Callable[[PublicKey], str]

    def jwt(self) -> str:
        """Give a fresh JWT."""
        return self.mint(self.pair.public)

    def sign(self, nonce: bytes) -> bytes:
        """Sign the server's nonce; 64 bytes."""
        return self.pair.sign(nonce)


class Authority:
    """The network's keys at work. One folder may serve several gateway processes.

    Copies of a folder learn from each other through the servers: see `agree`.
    """

    def __init__(self, directory: Path, keys: Keys, clock: Clock, node_life: int) -> None:
        self._directory = directory
        self._keys = keys
        self._clock = clock
        self._node_life = node_life

    @classmethod
    def open_or_create(
        cls, directory: Path, *, clock: Clock = time.time, node_life: int = NODE_LIFE
    ) -> "Authority":
        """Read the network's keys, made now if there are none. Blocks.

        `node_life` in seconds is how long a node's JWT lives.
        Raises: AuthorityDamaged, AuthorityLocked.
        """
        make_private_folder(directory)
        with _locked(directory):
            if not (directory / FOLDER).exists():
                create_keys(directory, int(clock()))
            keys, _ = load_keys(directory)
        return cls(directory, keys, clock, node_life)

    @property
    def operator_jwt(self) -> str:
        """What the servers trust."""
        return self._keys.operator_jwt

    @property
    def operator(self) -> PublicKey:
        """The network's name in keys."""
        return self._keys.operator

    @property
    def system_account(self) -> PublicKey:
        """The account that may talk to the servers themselves."""
        return self._keys.system

    @property
    def nonce_key(self) -> bytes:
        """The HMAC key of enrolment nonces; 32 bytes."""
        return self._keys.nonce_key

    @property
    def salt_key(self) -> bytes:
        """The key that `Salts` derives its own from; 32 bytes, the same at every gateway."""
        return self._keys.nonce_key

    @property
    def audit_key(self) -> KeyPair:
        """The key that signs the log of acts, the same at every gateway of this folder."""
        return self._keys.audit_key

    def account_jwts(self) -> Mapping[PublicKey, str]:
        """Give the accounts as they stand now, for a server's start. Raises: AuthorityDamaged."""
        return {self._keys.system: self._keys.system_jwt, self._keys.garage: self.garage_jwt()}

    def garage_jwt(self) -> str:
        """Give the garage account as it stands now, revocations included."""
        return encode(self._garage(), self._keys.operator_signing)

    def node_jwt(
        self, node: NodeId, key: str, region: str | None, *, life: int | None = None
    ) -> str:
        """Let a node do its four things for `life` seconds (its usual life, if not given).

        Raises: BadNodeKey.
        """
        if not is_token(node) or not is_token(region or subjects.NO_REGION):
            raise BadNodeKey("node or region cannot stand in a subject")
        pub = (
            subjects.beat(region, node),
            subjects.replies_of(node),
            subjects.renew(node),
        )
        try:
            user_key = public_key(key, Role.USER)
        except BadKey as error:
            raise BadNodeKey(str(error)) from error
        body = self._user(pub, (subjects.all_to_node(node),), _NODE_SUBS, _NODE_PAYLOAD)
        seconds = self._node_life if life is None else life
        return self._sign_user(user_key, node, body, seconds, self._keys.garage_signing)

    def gateway_credentials(self, gateway: GatewayId) -> UserCredentials:
        """Give a gateway its place: its replies, all beats and renewals, every node's subjects.

        The key lives in this process only.
        """
        hears = (subjects.replies_to(gateway), subjects.ALL_BEATS, subjects.ALL_RENEWALS)
        body = self._user((subjects.ALL_NODES,), hears, _GATEWAY_SUBS, _GATEWAY_PAYLOAD)
        return UserCredentials(
            KeyPair.generate(Role.USER),
            lambda key: self._sign_user(
                key, gateway, body, LONGEST_LIFE, self._keys.garage_signing
            ),
        )

    @property
    def claims_lookup(self) -> str:
        """The subject on which the servers tell the garage account as they have it."""
        return CLAIMS_LOOKUP.format(self._keys.garage)

    def system_credentials(self) -> UserCredentials:
        """Let this process ask the servers for account JWTs and give them new ones, for 5 min."""
        inbox = (f"{SYSTEM_INBOX}.>",)
        says = (CLAIMS_UPDATE, self.claims_lookup)
        body = self._user(says, inbox, _NODE_SUBS, _GATEWAY_PAYLOAD)
        body = msgspec.structs.replace(body, issuer_account=self._keys.system)
        return UserCredentials(
            KeyPair.generate(Role.USER),
            lambda key: self._sign_user(
                key, "claims", body, SYSTEM_LIFE, self._keys.system_signing
            ),
        )

    def record_revocation(self, key: str, before: float | None = None) -> None:
        """Write down that a key's JWTs issued until `before` (now, if not given) are void.

        Durable at the return; the servers learn it by `claims_push`. Blocks.
        Raises: BadNodeKey, AuthorityDamaged, AuthorityLocked.
        """
        try:
            revoked = public_key(key, Role.USER)
        except BadKey as error:
            raise BadNodeKey(str(error)) from error
        until = int(self._clock() if before is None else before)
        with _locked(self._directory):
            claims = self._garage()
            known = self._current(_revocations(claims))
            self._write(claims, _union(known, {revoked: until}), claims.iat)

    def record_missing(self, cut_off: Mapping[str, float]) -> int:
        """Write down each key that is to be cut off until a moment and is not; tell how many.

        Blocks. Raises: AuthorityDamaged, AuthorityLocked.
        """
        with _locked(self._directory):
            claims = self._garage()
            known = self._current(_revocations(claims))
            moments = {key: int(until) for key, until in cut_off.items()}
            missing = {key: at for key, at in moments.items() if not _covers(known, {key: at})}
            if missing:
                self._write(claims, self._current(_union(known, missing)), claims.iat)
        return len(missing)

    async def record_revocation_async(self, key: str, before: float | None = None) -> None:
        """As `record_revocation`, off the event loop."""
        await asyncio.to_thread(self.record_revocation, key, before)

    def agree(self, told: str) -> str | None:
        """Take over what the servers know, and give the account JWT that tells them the rest.

        `told` is the account as a server has it. None: it knows all that is written down here.
        Blocks. Raises: ForeignAccount, AuthorityDamaged, AuthorityLocked.
        """
        theirs = self._read(told)
        with _locked(self._directory):
            ours = self._garage()
            mine, others = (self._current(_revocations(each)) for each in (ours, theirs))
            both = _union(mine, others)
            if not _covers(others, both):
                return self._write(ours, self._current(both), max(ours.iat, theirs.iat))
            if not _covers(mine, both):
                self._write(ours, self._current(both), ours.iat)
        return None

    def _garage(self) -> Claims:
        _, claims = load_keys(self._directory)
        return claims

    def _read(self, told: str) -> Claims:
        """Read the account of a server. Raises: ForeignAccount."""
        try:
            claims = decode(told, issuers=(self._keys.operator_signing.public,))
        except ClaimsError as error:
            raise ForeignAccount(f"the servers' account is not of this network: {error}") from error
        if claims.sub != self._keys.garage:
            raise ForeignAccount("the servers told of another account")
        return claims

    def _current(self, revocations: Mapping[str, int]) -> dict[str, int]:
        now = int(self._clock())
        return _pruned(revocations, now, now - self._node_life)

    def _write(self, claims: Claims, revocations: Mapping[str, int], newest: int) -> str:
        """Keep the account with these revocations, newer than `newest`; give its JWT."""
        body = msgspec.structs.replace(_account(claims), revocations=dict(revocations))
        # The servers keep the JWT with the later `iat`, counted in whole seconds.
        issued = max(int(self._clock()), newest + 1)
        new = msgspec.structs.replace(claims, iat=issued, nats=body)
        jwt = encode(new, self._keys.operator_signing)
        replace_secret(self._directory / FOLDER / GARAGE_JWT, jwt + "\n")
        return jwt

    def _user(self, pub: tuple[str, ...], sub: tuple[str, ...], subs: int, payload: int) -> User:
        return User(
            version=_VERSION,
            pub=Permission(allow=pub),
            sub=Permission(allow=sub),
            subs=subs,
            data=_NODE_DATA,
            payload=payload,
            issuer_account=self._keys.garage,
            allowed_connection_types=_CONNECTIONS,
        )

    def _sign_user(self, key: PublicKey, name: str, body: User, life: int, signer: KeyPair) -> str:
        now = int(self._clock())
        return encode(Claims(sub=key, name=name, iat=now, exp=now + life, nats=body), signer)


def new_inbox() -> str:
    """Name a subject on which a server may answer the system user."""
    return f"{SYSTEM_INBOX}.{secrets.token_hex(8)}"


def _pruned(revocations: Mapping[str, int], now: int, oldest_node: int) -> dict[str, int]:
    """Drop what no longer cuts anybody off, so that the list stays within one message."""
    # No JWT of ours lives longer than this: what was revoked before has ended by itself.
    kept = {key: at for key, at in revocations.items() if at + LONGEST_LIFE > now}
    if len(kept) < _REVOCATIONS_KEPT:
        return kept
    # One line for all takes the place of the old ones. A node in good standing has renewed
    # since; a gateway connected for longer than a node's life connects once more. Where too many
    # are newer than that, nodes that have not renewed since the oldest of them do so by proof.
    line = max(oldest_node, sorted(kept.values())[-_REVOCATIONS_KEPT])
    return {key: at for key, at in kept.items() if at > line} | {_ALL: line}


def _union(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Join lists: of a key that stands in both the later moment."""
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in {*one, *other}}


def _covers(revocations: Mapping[str, int], others: Mapping[str, int]) -> bool:
    """Tell whether whoever is cut off by others is cut off by these."""
    of_all = revocations.get(_ALL, 0)
    return all(at <= max(of_all, revocations.get(key, 0)) for key, at in others.items())


def _account(claims: Claims) -> Account:
    if not isinstance(claims.nats, Account):
        raise AuthorityDamaged("the garage account's JWT is of another kind")
    return claims.nats


def _revocations(claims: Claims) -> Mapping[str, int]:
    return _account(claims).revocations


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the folder against other processes, waiting at most ten seconds."""
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, directory)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, directory: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise AuthorityLocked(f"{directory} is held by another process") from error
            time.sleep(0.02)
        else:
            return


def audit_public_key(directory: Path) -> PublicKey | None:
    """Read by which key a network's log is signed; None where its keys are not in the folder.

    Raises: AuthorityDamaged.
    """
    if not (directory / FOLDER).is_dir():
        return None
    keys, _ = load_keys(directory)
    return keys.audit_key.public


__all__ = [
    "CLAIMS_UPDATE",
    "DAY",
    "LONGEST_LIFE",
    "NODE_LIFE",
    "SYSTEM_INBOX",
    "SYSTEM_LIFE",
    "Authority",
    "Clock",
    "UserCredentials",
    "audit_public_key",
    "new_inbox",
]
