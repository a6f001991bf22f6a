"""Limits of keys and members."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends

from garage_ai.accounts import OPERATOR, Key, KeyId, LimitSettings, MemberId
from garage_ai.gateway.coordination.access import SECURITY, Admitted, acting, errors
from garage_ai.gateway.coordination.limit_schemas import (
    LimitsAsked,
    LimitsGiven,
    LimitsShown,
    UsedGiven,
)
from garage_ai.gateway.coordination.paths import IdPath
from garage_ai.gateway.services import Services


def limit_routes(services: Services, admin: Admitted) -> APIRouter:
    """Make the routes of limits."""
    routes = APIRouter(dependencies=[Depends(admin)])
    book = services.limit_book

    @routes.get(
        "/keys/{key}/limits",
        tags=["keys"],
        responses=errors("key_not_found"),
        openapi_extra=SECURITY,
    )
    async def show_key_limits(key: IdPath) -> LimitsShown:
        """Show what a key may use, and how much of it is used."""
        used = UsedGiven.of(await book.used_by_key(KeyId(key)))
        return LimitsShown(limits=LimitsGiven.of(book.of(KeyId(key))), used=used)

    @routes.patch(
        "/keys/{key}/limits",
        tags=["keys"],
        responses=errors("key_not_found", "member_erased", "last_admin_key", "invalid_field"),
        openapi_extra=SECURITY,
    )
    async def limit_key(
        key: IdPath, asked: LimitsAsked, caller: Annotated[Key, Depends(admin)]
    ) -> LimitsGiven:
        """Change what a key may use: at once here, within a second at other gateways."""
        return LimitsGiven.of(await book.change_key(KeyId(key), asked.changes(), by=acting(caller)))

    @routes.get(
        "/members/{member}/limits",
        tags=["members"],
        responses=errors("member_not_found"),
        openapi_extra=SECURITY,
    )
    async def show_member_limits(member: IdPath) -> LimitsShown:
        """Show what a member may use with all its keys together, and how much of it is used."""
        used = UsedGiven.of(await book.used_by_member(MemberId(member)))
        return LimitsShown(limits=LimitsGiven.of(book.of(MemberId(member))), used=used)

    @routes.patch(
        "/members/{member}/limits",
        tags=["members"],
        responses=errors(
            "member_not_found",
            "operator_needed",
            "member_erased",
            "last_admin_key",
            "invalid_field",
        ),
        openapi_extra=SECURITY,
    )
    async def limit_member(
        member: IdPath, asked: LimitsAsked, caller: Annotated[Key, Depends(admin)]
    ) -> LimitsGiven:
        """Change what a member may use with all its keys together."""
        changed = await book.change_member(MemberId(member), asked.changes(), by=acting(caller))
        return LimitsGiven.of(changed)

    return routes


def first_limits(asked: LimitsAsked | None, member: str, defaults: LimitSettings) -> LimitSettings:
    """Give the limits of a new key: those asked for, and the network's where nothing was said."""
    start = LimitSettings() if member == OPERATOR else defaults
    return replace(start, **(asked.changes() if asked else {}))  # type: ignore[arg-type]


__all__ = ["first_limits", "limit_routes"]
