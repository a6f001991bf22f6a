"""What can be wrong with the network's authority over its NATS servers.

AuthorityError             code
├── AuthorityDamaged       authority_damaged       a key or JWT of the network is missing or wrong
├── AuthorityLocked        authority_locked        another process holds the keys for too long
├── BadNodeKey             bad_node_key            not a node's public key
├── ClaimsNotPushed        claims_not_pushed       no server confirmed a revocation (kept on disk)
└── ForeignAccount         foreign_account         the servers' account is another network's
"""


class AuthorityError(Exception):
    """Anything that keeps the authority from its work."""

    code = "authority_error"


class AuthorityDamaged(AuthorityError):
    code = "authority_damaged"


class AuthorityLocked(AuthorityError):
    code = "authority_locked"


class BadNodeKey(AuthorityError):
    code = "bad_node_key"


class ClaimsNotPushed(AuthorityError):
    code = "claims_not_pushed"


class ForeignAccount(AuthorityError):
    code = "foreign_account"


__all__ = [
    "AuthorityDamaged",
    "AuthorityError",
    "AuthorityLocked",
    "BadNodeKey",
    "ClaimsNotPushed",
    "ForeignAccount",
]
