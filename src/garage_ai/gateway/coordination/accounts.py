"""Members, keys, enrolment tokens and claims to model names."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from garage_ai.accounts import Key, KeyId, MemberId, TokenId
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import schemas
from garage_ai.gateway.coordination.access import SECURITY, IdempotencyKey, errors, needs
from garage_ai.gateway.services import Services

_MADE = ("invalid_field", "member_not_found", "idempotency_conflict")
IdPath = Annotated[str, Path(min_length=1, max_length=64)]


def account_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of accounts."""
    routes = APIRouter()
    admin = [Depends(needs(doorkeeper, "admin"))]
    routes.include_router(_member_routes(services), tags=["members"], dependencies=admin)
    routes.include_router(_key_routes(services), tags=["keys"], dependencies=admin)
    routes.include_router(_token_routes(services), tags=["tokens"], dependencies=admin)
    routes.include_router(_model_routes(services), tags=["models"], dependencies=admin)

    @routes.get("/me", tags=["keys"], responses=errors(), openapi_extra=SECURITY)
    async def me(
        key: Annotated[Key, Depends(needs(doorkeeper, None))],
    ) -> schemas.KeyGiven:
        """Show the key that asks."""
        return schemas.KeyGiven.of(key)

    return routes


def _member_routes(services: Services) -> APIRouter:
    routes = APIRouter()
    members = services.members

    @routes.post(
        "/members", status_code=201, responses=errors("invalid_field"), openapi_extra=SECURITY
    )
    async def create_member(asked: schemas.MemberAsked) -> schemas.MemberGiven:
        """Make a member, to whom keys, enrolment tokens and model names can belong."""
        return schemas.MemberGiven.of(await members.add(asked.name))

    @routes.get("/members", responses=errors(), openapi_extra=SECURITY)
    async def list_members() -> schemas.MembersGiven:
        """List all members, the operator of the network among them."""
        return schemas.MembersGiven(data=[schemas.MemberGiven.of(m) for m in await members.list()])

    return routes


def _key_routes(services: Services) -> APIRouter:
    routes = APIRouter()
    keys = services.keys

    @routes.post("/keys", status_code=201, responses=errors(*_MADE), openapi_extra=SECURITY)
    async def create_key(
        asked: schemas.KeyAsked, idempotency_key: IdempotencyKey = None
    ) -> schemas.KeyMade:
        """Make a key; its secret is told this one time."""
        made = await keys.create(
            asked.name,
            MemberId(asked.member),
            asked.scopes,
            region=asked.region,
            idempotency_key=idempotency_key,
        )
        shown = schemas.KeyGiven.of(made.key)
        return schemas.KeyMade(**shown.model_dump(), key=made.secret)

    @routes.get("/keys", responses=errors(), openapi_extra=SECURITY)
    async def list_keys() -> schemas.KeysGiven:
        """List all keys, revoked ones too."""
        return schemas.KeysGiven(data=[schemas.KeyGiven.of(key) for key in await keys.list()])

    @routes.delete("/keys/{key}", responses=errors("key_not_found"), openapi_extra=SECURITY)
    async def revoke_key(key: IdPath) -> schemas.KeyGiven:
        """Revoke a key: at once here, within a second at other gateways."""
        return schemas.KeyGiven.of(await keys.revoke(KeyId(key)))

    return routes


def _token_routes(services: Services) -> APIRouter:
    routes = APIRouter()
    tokens = services.tokens

    @routes.post("/tokens", status_code=201, responses=errors(*_MADE), openapi_extra=SECURITY)
    async def create_token(
        asked: schemas.TokenAsked, idempotency_key: IdempotencyKey = None
    ) -> schemas.TokenMade:
        """Make an enrolment token, good for one node; its secret is told this one time."""
        made = await tokens.create(
            MemberId(asked.member),
            asked.region,
            timedelta(seconds=asked.ttl),
            bare_allowed=asked.bare_allowed,
            idempotency_key=idempotency_key,
        )
        shown = schemas.TokenGiven.of(made.token)
        secret = _with_fingerprint(made.secret, services.ca_fingerprint)
        return schemas.TokenMade(**shown.model_dump(), token=secret)

    @routes.get("/tokens", responses=errors(), openapi_extra=SECURITY)
    async def list_tokens() -> schemas.TokensGiven:
        """List all tokens."""
        return schemas.TokensGiven(data=[schemas.TokenGiven.of(t) for t in await tokens.list()])

    @routes.delete("/tokens/{token}", responses=errors("token_not_found"), openapi_extra=SECURITY)
    async def revoke_token(token: IdPath) -> schemas.TokenGiven:
        """Make a token useless; a node that it enrolled stays."""
        return schemas.TokenGiven.of(await tokens.revoke(TokenId(token)))

    return routes


def _model_routes(services: Services) -> APIRouter:
    routes = APIRouter()

    @routes.get("/models", responses=errors(), openapi_extra=SECURITY)
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
    async def approve(asked: schemas.ApproveAsked) -> schemas.ClaimGiven:
        """Let a member serve under a name that it claimed; works from its nodes' next beat."""
        claim = await services.claims.approve(asked.name, MemberId(asked.member))
        return schemas.ClaimGiven.of(claim)

    return routes


def _with_fingerprint(secret: str | None, fingerprint: str | None) -> str | None:
    """Append the CA's fingerprint, by which a node knows the gateway before it trusts it."""
    return f"{secret}.{fingerprint}" if secret is not None and fingerprint else secret


__all__ = ["account_routes"]
