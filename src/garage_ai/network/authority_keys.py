"""The network's own keys, made once.

    authority/operator.nk          root of trust   \\  not read in daily work:
    authority/system.nk            system account   > may be moved off-line
    authority/garage.nk            garage account  /
    authority/operator-signing.nk  signs account JWTs
    authority/system-signing.nk    signs the users that push revocations
    authority/garage-signing.nk    signs gateways and nodes
    authority/operator.jwt, system.jwt, garage.jwt
    authority/nonce.key            HMAC key of enrolment nonces

All are made in a folder beside and renamed into place as one: a crash leaves all or nothing.
"""

import hashlib
import hmac
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.network.authority_errors import AuthorityDamaged
from garage_ai.wire.claims import (
    MAX_TOKEN,
    Account,
    AccountLimits,
    Claims,
    ClaimsError,
    Operator,
    decode,
)
from garage_ai.wire.claims import encode as encode_claims
from garage_ai.wire.nkey import KeyPair, NkeyError, PublicKey, Role
from garage_ai.wire.secret_files import (
    SecretFileError,
    create_secret,
    make_private_folder,
    read_secret,
    sync_folder,
)

FOLDER: Final = "authority"
GARAGE_JWT: Final = "garage.jwt"
LOCK: Final = "lock"
_HALF_MADE: Final = ".authority-half-made-"
_VERSION: Final = 2
_NONCE_KEY_BYTES: Final = 32
_AUDIT_PURPOSE: Final = b"gai-audit-key-v1\n"

GARAGE_LIMITS: Final = AccountLimits(subs=1_000_000, data=2**50, payload=2**20, conn=100_000)
SYSTEM_LIMITS: Final = AccountLimits(subs=1_000, data=2**40, payload=2**20, conn=100)


@dataclass(frozen=True, slots=True)
class Keys:
    """What daily work needs: signing keys, and the public halves of the roots."""

    operator_jwt: str
    system_jwt: str
    operator: PublicKey
    system: PublicKey
    garage: PublicKey
    operator_signing: KeyPair
    system_signing: KeyPair
    garage_signing: KeyPair
    nonce_key: bytes

    @property
    def audit_key(self) -> KeyPair:
        """The key that signs the log of acts: old networks have no file of it."""
        seed = hmac.digest(self.nonce_key, _AUDIT_PURPOSE, hashlib.sha256)
        return KeyPair(Role.OPERATOR, seed)

    def __repr__(self) -> str:
        return f"Keys(operator={self.operator})"


def account_claims(
    name: str, account: PublicKey, signing: PublicKey, limits: AccountLimits, now: int
) -> Claims:
    """Say what an account may do, and who signs its users."""
    body = Account(version=_VERSION, limits=limits, signing_keys=(signing,))
    return Claims(sub=account, name=name, iat=now, nats=body)


def create_keys(directory: Path, now: int) -> None:
    """Make all keys and JWTs in `directory`/authority; the caller holds the lock."""
    sweep(directory)
    folder = directory / f"{_HALF_MADE}{secrets.token_hex(6)}"
    make_private_folder(folder)
    operator, operator_signing = KeyPair.generate(Role.OPERATOR), KeyPair.generate(Role.OPERATOR)
    system, system_signing = KeyPair.generate(Role.ACCOUNT), KeyPair.generate(Role.ACCOUNT)
    garage, garage_signing = KeyPair.generate(Role.ACCOUNT), KeyPair.generate(Role.ACCOUNT)
    body = Operator(
        version=_VERSION, signing_keys=(operator_signing.public,), system_account=system.public
    )
    root = Claims(sub=operator.public, name="garage-ai", iat=now, nats=body)
    of_system = account_claims("SYS", system.public, system_signing.public, SYSTEM_LIMITS, now)
    of_garage = account_claims("GARAGE", garage.public, garage_signing.public, GARAGE_LIMITS, now)
    files = {
        "operator.nk": operator.seed(),
        "system.nk": system.seed(),
        "garage.nk": garage.seed(),
        "operator-signing.nk": operator_signing.seed(),
        "system-signing.nk": system_signing.seed(),
        "garage-signing.nk": garage_signing.seed(),
        "operator.jwt": encode_claims(root, operator),
        "system.jwt": encode_claims(of_system, operator_signing),
        GARAGE_JWT: encode_claims(of_garage, operator_signing),
        "nonce.key": secrets.token_hex(_NONCE_KEY_BYTES),
    }
    for name, content in files.items():
        create_secret(folder / name, content + "\n")
    folder.rename(directory / FOLDER)
    sync_folder(directory)


def sweep(directory: Path) -> None:
    """Remove what a crash in the middle of making left; the caller holds the lock."""
    for leftover in directory.glob(f"{_HALF_MADE}*"):
        shutil.rmtree(leftover)


def load_keys(directory: Path) -> tuple[Keys, Claims]:
    """Read the keys and the garage account's claims, and check that they belong together.

    Raises: AuthorityDamaged.
    """
    folder = directory / FOLDER
    read = _reader(folder)
    try:
        operator_jwt, system_jwt = read("operator.jwt"), read("system.jwt")
        operator_signing = KeyPair.from_seed(read("operator-signing.nk"), Role.OPERATOR)
        system_signing = KeyPair.from_seed(read("system-signing.nk"), Role.ACCOUNT)
        garage_signing = KeyPair.from_seed(read("garage-signing.nk"), Role.ACCOUNT)
        root = decode(operator_jwt, issuers=None)
        system = decode(system_jwt, issuers=(operator_signing.public,))
        garage = decode(read(GARAGE_JWT), issuers=(operator_signing.public,))
        nonce_key = bytes.fromhex(read("nonce.key"))
    except (NkeyError, ClaimsError, ValueError) as error:
        raise AuthorityDamaged(f"the network's keys in {folder} are damaged: {error}") from error
    keys = Keys(
        operator_jwt=operator_jwt,
        system_jwt=system_jwt,
        operator=PublicKey(root.sub),
        system=PublicKey(system.sub),
        garage=PublicKey(garage.sub),
        operator_signing=operator_signing,
        system_signing=system_signing,
        garage_signing=garage_signing,
        nonce_key=nonce_key,
    )
    _check(folder, keys, root, system, garage)
    return keys, garage


def _reader(folder: Path) -> Callable[[str], str]:
    def read(name: str) -> str:
        try:
            return read_secret(folder / name, most=MAX_TOKEN)
        except SecretFileError as error:
            raise AuthorityDamaged(
                f"{error}. Restore {folder} from a backup; a network cannot go on with new keys."
            ) from error

    return read


def _check(folder: Path, keys: Keys, root: Claims, system: Claims, garage: Claims) -> None:
    """Check that root, accounts and signing keys are of one making."""
    fits = (
        isinstance(root.nats, Operator)
        and root.iss == root.sub
        and keys.operator_signing.public in root.nats.signing_keys
        and root.nats.system_account == keys.system
        and isinstance(system.nats, Account)
        and keys.system_signing.public in system.nats.signing_keys
        and isinstance(garage.nats, Account)
        and keys.garage_signing.public in garage.nats.signing_keys
        and len(keys.nonce_key) == _NONCE_KEY_BYTES
    )
    if not fits:
        raise AuthorityDamaged(f"the keys and JWTs in {folder} do not belong together")
