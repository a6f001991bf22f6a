"""What accounts refuse, and why.

AccountError                     code
├── InvalidKey                   invalid_api_key         no such key
│   ├── RevokedKey               revoked_api_key         it was one once
│   └── ExpiredKey               expired_api_key         it was one until a moment that was set
├── InvalidToken                 invalid_token           no such enrolment token
│   ├── TokenExpired             token_expired
│   ├── TokenRevoked             token_revoked
│   └── TokenUsed                token_used              a token is good for one node
├── InvalidInvite                invalid_invite          no such invite
│   ├── InviteExpired            invite_expired
│   ├── InviteRevoked            invite_revoked
│   └── InviteUsed               invite_used             as many have come as may
├── MemberSuspended              member_suspended        the key is good, its member is not let in
├── NotFound
│   ├── MemberNotFound           member_not_found
│   ├── KeyNotFound              key_not_found
│   ├── TokenNotFound            token_not_found
│   ├── InviteNotFound           invite_not_found
│   ├── NodeNotFound             node_not_found          not there, or removed
│   ├── ClaimNotFound            claim_not_found         nobody claimed that model name
│   └── ManifestNotFound         model_not_found         not in the catalogue
├── Conflict
│   ├── IdempotencyConflict      idempotency_conflict    the same key for another request
│   ├── TooManyMade              too_many_made           a member has enough keys or tokens
│   ├── NodeKeyTaken             node_key_taken          another node has or had that public key
│   ├── NodeKeyStale             node_key_stale          the node has another public key by now
│   ├── NodeRemoved              node_removed            cut off for good
│   ├── LastAdminKey             last_admin_key          nobody could administer the network then
│   ├── OperatorNeeded           operator_needed         the operator stays, and so do its keys
│   ├── MemberErased             member_erased           nobody comes back from that
│   ├── ManifestExists           manifest_exists         the name is another model's
│   └── NotConfirmed             not_confirmed           erased is who says the own name
├── InvalidField                 invalid_field           a value that cannot be kept
├── LimitReached                 limit_reached           no more may be used, or not this
│   ├── RateLimited              rate_limit_exceeded     requests or tokens a minute, streams
│   ├── BudgetExceeded           budget_exceeded         of the day or the month
│   ├── ModelForbidden           model_forbidden
│   ├── TooManyRotations         too_many_rotations      a node has changed its key enough today
│   └── LimitsUnavailable        storage_unavailable     cannot be checked, and fails closed
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


class ExpiredKey(InvalidKey):
    code = "expired_api_key"


class InvalidToken(AccountError):
    code = "invalid_token"


class TokenExpired(InvalidToken):
    code = "token_expired"


class TokenRevoked(InvalidToken):
    code = "token_revoked"


class TokenUsed(InvalidToken):
    code = "token_used"


class InvalidInvite(AccountError):
    code = "invalid_invite"


class InviteExpired(InvalidInvite):
    code = "invite_expired"


class InviteRevoked(InvalidInvite):
    code = "invite_revoked"


class InviteUsed(InvalidInvite):
    code = "invite_used"


class MemberSuspended(AccountError):
    code = "member_suspended"


class NotFound(AccountError):
    """A row that a caller named is not there."""

    code = "not_found"


class MemberNotFound(NotFound):
    code = "member_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class TokenNotFound(NotFound):
    code = "token_not_found"


class InviteNotFound(NotFound):
    code = "invite_not_found"


class NodeNotFound(NotFound):
    code = "node_not_found"


class ClaimNotFound(NotFound):
    code = "claim_not_found"


class ManifestNotFound(NotFound):
    code = "model_not_found"


class Conflict(AccountError):
    """The call is sound, but what is there already forbids it."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"


class TooManyMade(Conflict):
    code = "too_many_made"


class NodeKeyTaken(Conflict):
    code = "node_key_taken"


class NodeKeyStale(Conflict):
    code = "node_key_stale"


class NodeRemoved(Conflict):
    code = "node_removed"


class LastAdminKey(Conflict):
    code = "last_admin_key"


class OperatorNeeded(Conflict):
    code = "operator_needed"


class MemberErased(Conflict):
    code = "member_erased"


class ManifestExists(Conflict):
    code = "manifest_exists"


class NotConfirmed(Conflict):
    code = "not_confirmed"


class InvalidField(AccountError):
    """A value that cannot be kept; `field` names it."""

    code = "invalid_field"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class LimitReached(AccountError):
    """A limit says no; `retry_after` in seconds where waiting helps, `headers` tell the limits."""

    code = "limit_reached"
    param: str | None = None

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = headers


class RateLimited(LimitReached):
    code = "rate_limit_exceeded"


class BudgetExceeded(LimitReached):
    code = "budget_exceeded"


class ModelForbidden(LimitReached):
    code = "model_forbidden"
    param = "model"


class TooManyRotations(LimitReached):
    code = "too_many_rotations"


class LimitsUnavailable(LimitReached):
    code = "storage_unavailable"


class AdminKeyUnusable(AccountError):
    code = "admin_key_unusable"
