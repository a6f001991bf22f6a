"""Keys, enrolment tokens and claims to model names."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends

from garage_ai.accounts import Key, KeyId, LimitSettings, MemberId, TokenId
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import schemas
from garage_ai.gateway.coordination.access import (
    SECURITY,
    Admitted,
    IdempotencyKey,
    acting,
    errors,
    heed,
    needs,
    only,
    whose,
)
from garage_ai.gateway.coordination.limits import first_limits, limit_routes
from garage_ai.gateway.coordination.paging import After, Limit, next_after
from garage_ai.gateway.coordination.paths import IdPath
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.services import Keys, Services

_MADE = (
    "invalid_field",
    "member_not_found",
    "member_erased",
    "too_many_made",
    "idempotency_conflict",
)


def account_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of what belongs to members."""
    routes = APIRouter()
    caller = needs(doorkeeper, "member", "admin")
    admin = needs(doorkeeper, "admin")
    routes.include_router(_key_routes(services, caller), tags=["keys"])
    routes.include_router(_token_routes(services, caller), tags=["tokens"])
    routes.include_router(_model_routes(services, admin), tags=["models"])
    routes.include_router(limit_routes(services, admin))
    return routes


def _key_routes(services: Services, caller: Admitted) -> APIRouter:
    routes = APIRouter()
    keys, book = services.keys, services.limit_book

    @routes.post(
        "/keys",
        status_code=201,
        responses=errors(*_MADE, "region_forbidden"),
        openapi_extra=SECURITY,
    )
    async def create_key(
        asked: schemas.KeyAsked,
        key: Annotated[Key, Depends(caller)],
        idempotency_key: IdempotencyKey = None,
    ) -> schemas.KeyMade:
        """Make a key; its secret is told this one time.

        A member makes keys of its own, never an administrator's or a proxy's; limits and region of
        the key that asks hold for them too.
        """
        made = await keys.create(
            asked.name,
            whose(key, asked.member),
            asked.scopes,
            region=_within(key, asked),
            limits=_limits(services, key, asked),
            idempotency_key=idempotency_key,
            by=acting(key),
        )
        await heed(book.refresh)
        shown = schemas.KeyGiven.of(made.key, book.of(made.key.id))
        return schemas.KeyMade(**shown.model_dump(), key=made.secret)

    @routes.get("/keys", responses=errors("key_not_found"), openapi_extra=SECURITY)
    async def list_keys(
        key: Annotated[Key, Depends(caller)], limit: Limit = None, after: After = None
    ) -> schemas.KeysGiven:
        """List the keys, oldest first, revoked ones too: a member's own, or all for an
        administrator."""
        found = await keys.list(only(key), limit, None if after is None else KeyId(after))
        shown = [schemas.KeyGiven.of(each, book.of(each.id)) for each in found]
        return schemas.KeysGiven(data=shown, after=next_after(found, limit))

    @routes.delete(
        "/keys/{key_id}",
        responses=errors("key_not_found", "last_admin_key"),
        openapi_extra=SECURITY,
    )
    async def revoke_key(key_id: IdPath, key: Annotated[Key, Depends(caller)]) -> schemas.KeyGiven:
        """Revoke a key: at once here, within a second at other gateways.

        One that administers the network only such a key revokes, and never the last of them.
        """
        mine = only(key)
        if mine is not None:
            await _stays_within(keys, KeyId(key_id), mine)
        revoked = await keys.revoke(KeyId(key_id), of=mine, by=acting(key))
        return schemas.KeyGiven.of(revoked, book.of(revoked.id))

    return routes


async def _stays_within(keys: Keys, asked: KeyId, member: MemberId) -> None:
    found = next((each for each in await keys.list(member) if each.id == asked), None)
    if found is not None and "admin" in found.scopes:
        raise GatewayError("insufficient_scope", "This needs a key with the scope admin.")


def _token_routes(services: Services, caller: Admitted) -> APIRouter:
    routes = APIRouter()
    tokens = services.tokens

    @routes.post("/tokens", status_code=201, responses=errors(*_MADE), openapi_extra=SECURITY)
    async def create_token(
        asked: schemas.TokenAsked,
        key: Annotated[Key, Depends(caller)],
        idempotency_key: IdempotencyKey = None,
    ) -> schemas.TokenMade:
        """Make an enrolment token, good for one node; its secret is told this one time."""
        if asked.bare_allowed and only(key) is not None:
            raise GatewayError("insufficient_scope", "bare_allowed is an administrator's word.")
        made = await tokens.create(
            whose(key, asked.member),
            asked.region,
            timedelta(seconds=asked.ttl),
            bare_allowed=asked.bare_allowed,
            idempotency_key=idempotency_key,
            by=acting(key),
        )
        shown = schemas.TokenGiven.of(made.token)
        secret = with_fingerprint(made.secret, services.ca_fingerprint)
        return schemas.TokenMade(**shown.model_dump(), token=secret)

    @routes.get("/tokens", responses=errors("token_not_found"), openapi_extra=SECURITY)
    async def list_tokens(
        key: Annotated[Key, Depends(caller)], limit: Limit = None, after: After = None
    ) -> schemas.TokensGiven:
        """List the tokens, oldest first: a member's own, or all for an administrator."""
        found = await tokens.list(only(key), limit, None if after is None else TokenId(after))
        shown = [schemas.TokenGiven.of(each) for each in found]
        return schemas.TokensGiven(data=shown, after=next_after(found, limit))

    @routes.delete("/tokens/{token}", responses=errors("token_not_found"), openapi_extra=SECURITY)
    async def revoke_token(
        token: IdPath, key: Annotated[Key, Depends(caller)]
    ) -> schemas.TokenGiven:
        """Make a token useless; a node that it enrolled stays."""
        revoked = await tokens.revoke(TokenId(token), of=only(key), by=acting(key))
        return schemas.TokenGiven.of(revoked)

    return routes


def _model_routes(services: Services, admin: Admitted) -> APIRouter:
    routes = APIRouter()

    @routes.get(
        "/models", responses=errors(), openapi_extra=SECURITY, dependencies=[Depends(admin)]
    )
    async def list_models() -> schemas.ModelsGiven:
        """List the models served now, and who claims which name."""
        claims = await services.claims.list()
        return schemas.ModelsGiven(
            data=[schemas.ModelGiven.of(view) for view in services.network.models()],
            claims=[schemas.ClaimGiven.of(claim) for claim in claims],
        )

    @routes.post(
        "/models/approve",
        responses=errors("claim_not_found", "invalid_field"),
        openapi_extra=SECURITY,
    )
    async def approve(
        asked: schemas.ApproveAsked, key: Annotated[Key, Depends(admin)]
    ) -> schemas.ClaimGiven:
        """Let a member serve under a name that it claimed; works within 15 seconds."""
        member = MemberId(asked.member)
        claim = await services.claims.approve(asked.name, member, by=acting(key))
        services.network.compare()
        return schemas.ClaimGiven.of(claim)

    return routes


def _limits(services: Services, key: Key, asked: schemas.KeyAsked) -> LimitSettings:
    """Give the new key's limits; a member's key that has some makes keys with the same.

    Raises: GatewayError.
    """
    own = services.limit_book.of(key.id)
    if only(key) is None or own.is_empty:
        return first_limits(asked.limits, whose(key, asked.member), services.default_limits)
    if asked.limits is not None:
        raise GatewayError("insufficient_scope", "A key with limits makes keys with the same.")
    return own


def _within(key: Key, asked: schemas.KeyAsked) -> str | None:
    """Give the new key's region; a member's key makes none that may do more than itself.

    Raises: GatewayError.
    """
    if only(key) is None:
        return asked.region
    # Who tells of a proxy's calls says which members pay for them.
    if not {"admin", "usage"}.isdisjoint(asked.scopes):
        raise GatewayError("insufficient_scope", "Only an administrator makes such keys.")
    if key.region is not None and asked.region not in (None, key.region):
        raise GatewayError("region_forbidden", f"This key makes keys for {key.region} alone.")
    return key.region or asked.region


def with_fingerprint(secret: str | None, fingerprint: str | None) -> str | None:
    """Append the CA's fingerprint, by which a node knows the gateway before it trusts it."""
    return f"{secret}.{fingerprint}" if secret is not None and fingerprint else secret


__all__ = ["account_routes", "with_fingerprint"]
