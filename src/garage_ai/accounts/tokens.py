"""Enrolment tokens: the right to enrol one node, once, for a while."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Row, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.bounds import require_room
from garage_ai.accounts.errors import (
    IdempotencyConflict,
    InvalidField,
    InvalidToken,
    TokenExpired,
    TokenNotFound,
    TokenRevoked,
    TokenUsed,
)
from garage_ai.accounts.fields import checked_idempotency_key, checked_region
from garage_ai.accounts.listing import read_page
from garage_ai.accounts.members import require_member
from garage_ai.accounts.models import EnrolmentToken, IssuedToken
from garage_ai.accounts.secrets import TOKEN_PREFIX, digest_of, new_secret, token_secret
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import OPERATOR, MemberId, Storage, TokenId
from garage_ai.storage.ids import new_token_id
from garage_ai.storage.tables import enrolment_tokens as tokens
from garage_ai.wire.ids import NodeId

TOKEN_LIFE: Final = timedelta(days=1)
"""Long enough to be sent to a neighbour, short enough to be forgotten safely."""

LONGEST_LIFE: Final = timedelta(days=365)


class EnrolmentTokens:
    """Make enrolment tokens, redeem each once, revoke what is left."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def create(
        self,
        member: MemberId = OPERATOR,
        region: str | None = None,
        ttl: timedelta = TOKEN_LIFE,
        *,
        bare_allowed: bool = False,
        idempotency_key: str | None = None,
        by: Actor = GATEWAY,
    ) -> IssuedToken:
        """Make a token; its secret is given this one time.

        The node that redeems it belongs to `member`, stands in `region` and, with `bare_allowed`,
        may serve without a whole sandbox. Called again with the
        same member and idempotency key it gives the same token, without the secret.
        Raises: InvalidField, MemberNotFound, IdempotencyConflict, TooManyMade, StorageError.
        """
        if not timedelta() < ttl <= LONGEST_LIFE:
            raise InvalidField("ttl", f"more than nothing and at most {LONGEST_LIFE.days} days")
        now = self._clock()
        token = EnrolmentToken(
            new_token_id(),
            member,
            checked_region(region),
            now,
            now + ttl,
            bare_allowed_at=now if bare_allowed else None,
        )
        secret = new_secret(TOKEN_PREFIX)
        earlier = await self._insert(token, secret, checked_idempotency_key(idempotency_key), by)
        if earlier is None:
            return IssuedToken(token, secret)
        if _asked(earlier) != _asked(token):
            raise IdempotencyConflict("that idempotency key has made another token")
        return IssuedToken(earlier, None)

    async def revoke(
        self, token: TokenId, *, of: MemberId | None = None, by: Actor = GATEWAY
    ) -> EnrolmentToken:
        """Make a token useless; a node that it enrolled stays.

        With `of`, another member's is not there. Raises: TokenNotFound, StorageError.
        """
        mine = (tokens.c.id == token) & ((tokens.c.member_id == of) if of else true())
        async with self._storage.write(in_turn=True) as connection:
            changed = await connection.execute(
                update(tokens)
                .where(mine, tokens.c.revoked_at.is_(None))
                .values(revoked_at=self._clock())
            )
            row = (await connection.execute(select(tokens).where(mine))).one_or_none()
            if row is None:
                raise TokenNotFound(f"no enrolment token {token!r}")
            revoked = _token(row)
            if changed.rowcount:
                entry = Entry(Action.TOKEN_REVOKED, by, token, revoked.member)
                await self._log.record(connection, entry)
        return revoked

    async def list(
        self, of: MemberId | None = None, limit: int | None = None, after: TokenId | None = None
    ) -> list[EnrolmentToken]:
        """Give all tokens, or one member's, oldest first, or `limit` of them from behind one.

        Raises: TokenNotFound, StorageError.
        """
        wanted = select(tokens)
        if of is not None:
            wanted = wanted.where(tokens.c.member_id == of)
        async with self._storage.read() as connection:
            rows = await read_page(connection, wanted, limit, after, TokenNotFound)
        return [_token(row) for row in rows]

    async def _insert(
        self, token: EnrolmentToken, secret: str, idempotency_key: str | None, by: Actor
    ) -> EnrolmentToken | None:
        """Insert a token; an earlier one with its idempotency key is given back instead."""
        values = {
            "id": token.id,
            "member_id": token.member,
            "region": token.region,
            "digest": digest_of(TOKEN_PREFIX, secret),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "bare_allowed_at": token.bare_allowed_at,
            "idempotency_key": idempotency_key,
        }
        same_call = (tokens.c.member_id == token.member) & (
            tokens.c.idempotency_key == idempotency_key
        )
        async with self._storage.write(in_turn=True) as connection:
            await require_member(connection, token.member, active=True)
            result = await connection.execute(self._storage.insert_new(tokens).values(values))
            if result.rowcount:
                now, unused = token.created_at, tokens.c.redeemed_at.is_(None)
                works = unused & tokens.c.revoked_at.is_(None) & (tokens.c.expires_at > now)
                await require_room(connection, tokens, works, token.member, now)
                details = {"bare_allowed": token.bare_allowed_at is not None}
                entry = Entry(Action.TOKEN_MADE, by, token.id, token.member, details)
                await self._log.record(connection, entry)
                return None
            return _token((await connection.execute(select(tokens).where(same_call))).one())


async def find_token(connection: AsyncConnection, presented: str) -> EnrolmentToken:
    """Find the token that a secret belongs to, whatever its state. Raises: InvalidToken."""
    digest = digest_of(TOKEN_PREFIX, token_secret(presented))
    if digest is None:
        raise InvalidToken("not an enrolment token of this network")
    row = (await connection.execute(select(tokens).where(tokens.c.digest == digest))).one_or_none()
    if row is None:
        raise InvalidToken("no such enrolment token")
    return _token(row)


async def redeem_token(
    connection: AsyncConnection, presented: str, now: datetime, node: NodeId | None
) -> EnrolmentToken:
    """Use a token up in the caller's transaction.

    Raises: InvalidToken, TokenUsed, TokenRevoked, TokenExpired.
    """
    token = await find_token(connection, presented)
    # One statement decides, so that no two callers can both have read "open" and go on.
    result = await connection.execute(
        update(tokens)
        .where(
            tokens.c.id == token.id,
            tokens.c.redeemed_at.is_(None),
            tokens.c.revoked_at.is_(None),
            tokens.c.expires_at > now,
        )
        .values(redeemed_at=now, redeemed_by=node)
    )
    after = await find_token(connection, presented)
    if result.rowcount == 1:
        return after
    match after.state(now):
        case "revoked":
            raise TokenRevoked("this enrolment token was revoked")
        case "expired":
            raise TokenExpired("this enrolment token has expired")
        case _:
            raise TokenUsed("this enrolment token has enrolled a node already")


def _asked(token: EnrolmentToken) -> tuple[str | None, timedelta, bool]:
    """Give what a caller asked for, to tell another wish from the same one once more."""
    return (token.region, token.expires_at - token.created_at, token.bare_allowed_at is not None)


def _token(row: Row[tuple[object, ...]]) -> EnrolmentToken:
    fields = row._asdict()
    del fields["digest"], fields["idempotency_key"]
    fields["member"] = fields.pop("member_id")
    return EnrolmentToken(**fields)
