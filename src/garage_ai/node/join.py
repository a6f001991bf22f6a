"""Become a node of a network, and stop being one."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from garage_ai.node.errors import EnrolmentFailed, GatewayAway, NotEnrolled, NotPossible
from garage_ai.node.events import Begun, Done, Event, Missing
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import (
    GatewayClient,
    GatewayRefused,
    NodeGoneForGood,
    gateway_base,
)
from garage_ai.node.preflight.service import inspect_needs
from garage_ai.node.records import record_with, tls_for
from garage_ai.node.rotation import settled
from garage_ai.node.sandbox.images import remove_built
from garage_ai.node.setup import check
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.trust import TrustError, fetch_ca, pinned_context

_log = structlog.get_logger(__name__)

Tell = Callable[[Event], None]

MAX_NAME: Final = 200


async def join(
    url: str, token: str, folder: NodeFolder, *, choice: Choice, name: str, tell: Tell
) -> Record:
    """Enrol this PC, unless the folder holds an identity of that network that is still good.

    Raises: NotPossible, AlreadyRunning, EnrolmentFailed, GatewayAway.
    """
    base = gateway_base(url)
    with folder.lock():
        folder.prepare()
        tell(Begun("check", choice.engine))
        await check(choice)
        tell(Done("check", choice.engine))
        await _look_at_pc(folder, choice.engine, tell)
        tell(Begun("identity", str(folder.path)))
        record = await _known(folder, base)
        if record is None:
            tell(Begun("enrol", base))
            record = await _enrol(base, token, folder, choice, name)
        elif record.choice != choice:
            record = record_with(record, choice=choice)
            folder.save(record)
        tell(Done("enrol", record.node))
        return record


async def _look_at_pc(folder: NodeFolder, engine: str, tell: Tell) -> None:
    """Tell what this PC lacks for the engine. Raises: NotPossible if anything."""
    tell(Begun("preflight"))
    failed = (await inspect_needs(folder, engine)).failed
    if failed:
        tell(Missing(failed))
        lacking = ", ".join(each.check for each in failed)
        raise NotPossible(f"This PC is not ready for {engine} ({lacking}); see: gai node doctor")
    tell(Done("preflight"))


async def leave(folder: NodeFolder) -> Record:
    """Tell the network goodbye; forget the identity and the engine's image. No agent may run.

    Raises: NotEnrolled, AlreadyRunning, GatewayAway, EnrolmentFailed.
    """
    with folder.lock():
        record = folder.load()
        try:
            async with GatewayClient(record.gateway, tls=tls_for(record)) as client:
                identity = await settled(folder.identity, record.node, client)
                await client.leave(identity, record.node)
        except NodeGoneForGood:
            _log.info("node_was_gone", node=record.node)
        except (IdentityError, TrustError) as error:
            raise NotEnrolled(str(error)) from error
        folder.forget()
        try:
            await remove_built(folder.path)
        except NotPossible as error:
            _log.warning("images_left", detail=str(error))
        return record


async def _known(folder: NodeFolder, base: str) -> Record | None:
    """Give who the node is, if it is one already; a removed one is forgotten, to begin anew.

    Raises: NotPossible.
    """
    try:
        record = folder.load()
        folder.identity.load()
        folder.identity.load_jwt()
    except (NotEnrolled, IdentityError):
        return None
    if record.gateway != base:
        raise NotPossible(
            f"{folder.path} is the home of node {record.node} of {record.gateway}. "
            "Leave that network first (gai node leave), or use another --data-dir."
        )
    try:
        async with GatewayClient(base, tls=tls_for(record)) as client:
            identity = await settled(folder.identity, record.node, client)
            fresh = await client.renew(identity, record.node)
    except NodeGoneForGood:
        folder.forget()
        return None
    except GatewayAway:
        return record
    except IdentityError as error:
        raise EnrolmentFailed(str(error)) from error
    except GatewayRefused as error:
        if error.reason == "node_not_found":
            folder.forget()
            return None
        raise
    folder.identity.save_jwt(fresh.jwt)
    return record_with(record, urls=fresh.urls or record.urls)


async def _enrol(base: str, token: str, folder: NodeFolder, choice: Choice, name: str) -> Record:
    secret, _, fingerprint = token.strip().partition(".")
    if not secret:
        raise NotPossible("Enrolling needs a token; an administrator makes one: gai node token")
    try:
        tls = await _trust(base, fingerprint)
        identity = folder.identity.open_or_create()
        async with GatewayClient(base, tls=tls) as client:
            bare = choice.engine != "llamacpp" or choice.sandbox == "none"
            enrolled = await client.enrol(identity, secret, name[:MAX_NAME], unsandboxed=bare)
    except (TrustError, IdentityError) as error:
        raise EnrolmentFailed(str(error)) from error
    record = Record(
        node=enrolled.node,
        member=enrolled.member,
        name=name[:MAX_NAME],
        region=enrolled.region,
        gateway=base,
        urls=enrolled.urls,
        ca_pem=enrolled.ca_pem,
        choice=choice,
    )
    # The JWT last: whoever finds it finds the rest.
    folder.save(record)
    folder.identity.save_jwt(enrolled.jwt)
    return record


async def _trust(base: str, fingerprint: str) -> ssl.SSLContext | None:
    """Give what to trust: the CA that the token names, or what the system trusts (None)."""
    if not fingerprint:
        return None
    pem = await asyncio.to_thread(fetch_ca, base, fingerprint)
    return pinned_context(pem, fingerprint)


__all__ = ["Tell", "join", "leave"]
