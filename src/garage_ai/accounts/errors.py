"""What accounts refuse, and why.

AccountError                     code
├── InvalidKey                   invalid_api_key         no such key
│   └── RevokedKey               revoked_api_key         it was one once
├── InvalidToken                 invalid_token           no such enrolment token
│   ├── TokenExpired             token_expired
│   ├── TokenRevoked             token_revoked
│   └── TokenUsed                token_used              a token is good for one node
├── NotFound
│   ├── MemberNotFound           member_not_found
│   ├── KeyNotFound              key_not_found
│   ├── TokenNotFound            token_not_found
│   ├── NodeNotFound             node_not_found          not there, or removed
│   └── ClaimNotFound            claim_not_found         nobody claimed that model name
├── Conflict
│   ├── IdempotencyConflict      idempotency_conflict    the same key for another request
│   ├── NodeKeyTaken             node_key_taken          another node has or had that public key
│   ├── NodeKeyStale             node_key_stale          the node has another public key by now
│   └── NodeRemoved              node_removed            cut off for good
├── InvalidField                 invalid_field           a value that cannot be kept
└── AdminKeyUnusable             admin_key_unusable      the file holds no key that works

No message holds a secret. Failures of the database come through as StorageError.
"""


class AccountError(Exception):
    """Anything accounts refuse."""

    code = "account_error"


class InvalidKey(AccountError):
    code = "invalid_api_key"


class RevokedKey(InvalidKey):
    code = "revoked_api_key"


class InvalidToken(AccountError):
    code = "invalid_token"


class TokenExpired(InvalidToken):
    code = "token_expired"


class TokenRevoked(InvalidToken):
    code = "token_revoked"


class TokenUsed(InvalidToken):
    code = "token_used"


class NotFound(AccountError):
    """A row that a caller named is not there."""

    code = "not_found"


class MemberNotFound(NotFound):
    code = "member_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class TokenNotFound(NotFound):
    code = "token_not_found"


class NodeNotFound(NotFound):
    code = "node_not_found"


class ClaimNotFound(NotFound):
    code = "claim_not_found"


class Conflict(AccountError):
    """The call is sound, but what is there already forbids it."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"


class NodeKeyTaken(Conflict):
    code = "node_key_taken"


class NodeKeyStale(Conflict):
    code = "node_key_stale"


class NodeRemoved(Conflict):
    code = "node_removed"


class InvalidField(AccountError):
    """A value that cannot be kept; `field` names it."""

    code = "invalid_field"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class AdminKeyUnusable(AccountError):
    code = "admin_key_unusable"
