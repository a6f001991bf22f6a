"""Become a node of a network."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from garage_ai.catalog import DEFAULT_MODEL
from garage_ai.node.errors import (
    CardUnusable,
    EnrolmentFailed,
    GatewayAway,
    NotEnrolled,
    NotPossible,
)
from garage_ai.node.events import Begun, Done, Event, Exposed, Missing, Unlisted
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import (
    GatewayClient,
    GatewayRefused,
    NodeGoneForGood,
    gateway_base,
    is_encrypted,
)
from garage_ai.node.network_models import settle
from garage_ai.node.preflight.models import CARD
from garage_ai.node.preflight.service import inspect_needs
from garage_ai.node.records import own_urls, record_with, tls_for, tls_with
from garage_ai.node.rotation import settled
from garage_ai.node.setup import check
from garage_ai.wire.enrolment import FreshJwt
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.trust import TrustError, fetch_ca

Tell = Callable[[Event], None]

MAX_NAME: Final = 200


async def join(
    url: str, token: str, folder: NodeFolder, *, choice: Choice, name: str, tell: Tell
) -> Record:
    """Enrol this PC, unless the folder holds an identity of that network that is still good.

    A model that the network is to tell of is asked for first, and costs no token if it cannot be
    had; the models of an earlier join stay where the owner names none now.
    Raises: NotPossible, AlreadyRunning, EnrolmentFailed, GatewayAway.
    """
    base = gateway_base(url)
    if not is_encrypted(base):
        tell(Exposed("unencrypted"))
    with folder.lock():
        folder.prepare()
        choice = _as_before(folder, base, choice)
        # First what has a fix in the owner's language beside it.
        await _look_at_pc(folder, choice, tell)
        tell(Begun("check", choice.engine))
        await check(choice)
        tell(Done("check", choice.engine))
        tell(Begun("identity", str(folder.path)))
        record = await _known(folder, base, token)
        if record is None:
            record = await _enrol(base, token, folder, choice, name, tell=tell)
        else:
            async with GatewayClient(base, tls=tls_for(record)) as client:
                choice = await _settled(choice, folder, client, tell)
            record = record_with(record, choice=choice)
            if record != folder.load():
                folder.save(record)
        tell(Done("enrol", record.node))
        return record


def _as_before(folder: NodeFolder, base: str, choice: Choice) -> Choice:
    """Keep to the models of this network's node, unless its owner names others, or an engine.

    What was picked is picked anew for other cards, another context or other slots.
    """
    try:
        record = folder.load()
    except NotEnrolled:
        return choice
    before = record.choice
    if record.gateway != base or choice.models or choice.engine != before.engine:
        return choice
    asked = (choice.gpus, choice.context, choice.slots)
    if before.picked and asked != (before.gpus, before.context, before.slots):
        return choice
    return msgspec.structs.replace(choice, models=before.models, picked=before.picked)


async def _settled(choice: Choice, folder: NodeFolder, client: GatewayClient, tell: Tell) -> Choice:
    """Settle the model of a node that is let in already, so that it may serve without a gateway."""
    try:
        return await settle(choice, folder.path, client, tell)
    except GatewayAway:
        if choice.models:
            raise
        tell(Unlisted(DEFAULT_MODEL))
        return choice


async def _look_at_pc(folder: NodeFolder, choice: Choice, tell: Tell) -> None:
    """Tell what this PC lacks for the engine. Raises: NotPossible if anything."""
    tell(Begun("preflight"))
    failed = (await inspect_needs(folder, choice)).failed
    if failed:
        tell(Missing(failed))
        lacking = ", ".join(each.check for each in failed)
        problem = f"This PC is not ready for {choice.engine} ({lacking}); see: gai node doctor"
        if {each.check for each in failed} <= CARD:
            raise CardUnusable(
                "{problem}",
                problem=problem,
            )
        raise NotPossible(
            "{problem}",
            problem=problem,
        )
    tell(Done("preflight"))


async def _known(folder: NodeFolder, base: str, token: str) -> Record | None:
    """Give who the node is, if it is one already; a removed one is forgotten, to begin anew.

    Raises: NotPossible, EnrolmentFailed, GatewayAway.
    """
    try:
        record = folder.load()
        folder.identity.load()
    except (NotEnrolled, IdentityError):
        return None
    if record.gateway != base:
        raise NotPossible(
            "{path} is the home of node {node} of {gateway}. Leave that network first (gai "
            "node leave), or use another --data-dir.",
            path=folder.path,
            node=record.node,
            gateway=record.gateway,
        )
    try:
        try:
            fresh = await _renewed(folder, record)
        except GatewayRefused as error:
            if error.reason != "tls" or not token.strip():
                raise
            # The network has another CA than when the node was let in.
            record = await _trusting(record, token)
            fresh = await _renewed(folder, record)
    except NodeGoneForGood:
        folder.forget()
        return None
    except GatewayAway:
        if not _has_jwt(folder):
            raise
        return record
    except (IdentityError, TrustError) as error:
        raise EnrolmentFailed(
            "{error}",
            error=error,
        ) from error
    except GatewayRefused as error:
        if error.reason == "node_not_found":
            folder.forget()
            return None
        raise
    folder.identity.save_jwt(fresh.jwt)
    return record_with(record, urls=fresh.urls or record.urls)


async def _renewed(folder: NodeFolder, record: Record) -> FreshJwt:
    async with GatewayClient(record.gateway, tls=tls_for(record)) as client:
        identity = await settled(folder.identity, record.node, client)
        return await client.renew(identity, record.node)


async def _trusting(record: Record, token: str) -> Record:
    """Give the record with the CA that a token names. Raises: TrustError."""
    return msgspec.structs.replace(record, ca_pem=await _named_ca(record.gateway, token))


def _has_jwt(folder: NodeFolder) -> bool:
    try:
        folder.identity.load_jwt()
    except IdentityError:
        # The last that an enrolment writes: it was cut short just before.
        return False
    return True


async def _enrol(
    base: str, token: str, folder: NodeFolder, choice: Choice, name: str, *, tell: Tell
) -> Record:
    secret = token.strip().partition(".")[0]
    if not secret:
        raise NotPossible("Enrolling needs a token; an administrator makes one: gai node token")
    try:
        tls = tls_with(await _named_ca(base, token))
        identity = folder.identity.open_or_create()
        async with GatewayClient(base, tls=tls) as client:
            choice = await settle(choice, folder.path, client, tell)
            tell(Begun("enrol", base))
            bare = choice.engine == "external" or choice.sandbox == "none"
            enrolled = await client.enrol(identity, secret, name[:MAX_NAME], unsandboxed=bare)
    except (TrustError, IdentityError) as error:
        raise EnrolmentFailed(
            "{error}",
            error=error,
        ) from error
    record = Record(
        node=enrolled.node,
        member=enrolled.member,
        name=name[:MAX_NAME],
        region=enrolled.region,
        gateway=base,
        urls=own_urls() or enrolled.urls,
        ca_pem=enrolled.ca_pem,
        choice=choice,
    )
    # The JWT last: whoever finds it finds the rest.
    folder.save(record)
    folder.identity.save_jwt(enrolled.jwt)
    return record


async def _named_ca(base: str, token: str) -> str | None:
    """Get the CA that the token names; None where it leaves that to the system.

    Raises: TrustError.
    """
    fingerprint = token.strip().partition(".")[2]
    return await asyncio.to_thread(fetch_ca, base, fingerprint) if fingerprint else None


__all__ = ["Tell", "join"]
