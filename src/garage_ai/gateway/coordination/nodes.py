"""Nodes: how they come, what they are doing, and how they go."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from garage_ai.accounts import InvalidToken, Key
from garage_ai.audit.models import Action, Entry
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.books import as_enrolled
from garage_ai.gateway.coordination import node_schemas
from garage_ai.gateway.coordination.access import (
    OPEN,
    SECURITY,
    OnceKey,
    acting,
    errors,
    needs,
    only,
)
from garage_ai.gateway.coordination.paging import After, Limit, next_after
from garage_ai.gateway.errors import BadRequest, GatewayError
from garage_ai.gateway.services import Services
from garage_ai.network.models import EnrolledNode, NodeView
from garage_ai.wire.benchmarks import SignedBenchmark
from garage_ai.wire.enrolment import EnrolRequest, Proof
from garage_ai.wire.identity import KeyRotation
from garage_ai.wire.ids import NodeId

NodePath = Annotated[str, Path(min_length=1, max_length=64, examples=["nabcdefghijkl"])]

_PROVED = ("nonce_unusable", "proof_refused", "node_gone", "node_not_found")


def joining_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes that need no key: a token or a signature is the credential."""
    routes = APIRouter(tags=["joining"])
    enrolment = services.enrolment

    @routes.post("/nonces", responses=errors(key=False), openapi_extra=OPEN)
    async def make_nonce() -> node_schemas.NonceGiven:
        """Give something to sign, good for two minutes."""
        return node_schemas.NonceGiven(nonce=enrolment.nonce())

    @routes.get(
        "/ca.pem",
        response_class=PlainTextResponse,
        responses=errors("no_own_ca", key=False),
        openapi_extra=OPEN,
    )
    async def show_ca() -> PlainTextResponse:
        """Give the network's own CA; check it against the fingerprint in the token."""
        if services.ca is None:
            raise GatewayError("no_own_ca")
        return PlainTextResponse(services.ca)

    @routes.post(
        "/nodes",
        status_code=201,
        responses=errors(
            "nonce_unusable",
            "bad_node_key",
            "invalid_field",
            "agent_too_old",
            "proof_refused",
            "invalid_token",
            "token_expired",
            "token_revoked",
            "token_used",
            "member_suspended",
            "node_key_taken",
            "node_removed",
            "too_many_failures",
            key=False,
        ),
        openapi_extra=OPEN,
    )
    async def enrol(asked: node_schemas.EnrolAsked, request: Request) -> node_schemas.EnrolledGiven:
        """Enrol a node: a token, and a signature over a nonce by the node's own key.

        Asked again with the same token and key, after a lost answer, it gives the same node.
        """
        try:
            enrolled = await enrolment.enrol(EnrolRequest(**asked.model_dump()))
        except InvalidToken:
            doorkeeper.count_failure(request.scope)
            raise
        services.network.enrol(
            EnrolledNode(
                enrolled.node,
                enrolled.member,
                asked.name.strip(),
                enrolled.region,
                public_key=asked.public_key,
            )
        )
        return node_schemas.EnrolledGiven.model_validate(enrolled, from_attributes=True)

    @routes.post("/nodes/{node}/renew", responses=errors(*_PROVED, key=False), openapi_extra=OPEN)
    async def renew(node: NodePath, asked: node_schemas.ProofAsked) -> node_schemas.JwtGiven:
        """Give a node a new JWT when its old one has ended; signed for `renew`."""
        fresh = await enrolment.renew_by_proof(_proof(node, asked))
        return node_schemas.JwtGiven(jwt=fresh.jwt, urls=list(fresh.urls))

    @routes.post(
        "/nodes/{node}/key",
        responses=errors(
            *_PROVED,
            "bad_node_key",
            "invalid_field",
            "node_key_taken",
            "node_key_stale",
            "too_many_rotations",
            key=False,
        ),
        openapi_extra=OPEN,
    )
    async def rotate(node: NodePath, asked: node_schemas.RotationAsked) -> node_schemas.JwtGiven:
        """Put a new key in a node's place: signed by the old one, proved by the new one."""
        _same(node, asked.node)
        fresh = await enrolment.rotate(
            KeyRotation(
                NodeId(node), asked.new_public_key, asked.nonce, asked.signature, asked.proof
            )
        )
        return node_schemas.JwtGiven(jwt=fresh.jwt, urls=list(fresh.urls))

    @routes.post(
        "/nodes/{node}/benchmarks",
        status_code=201,
        responses=errors(*_PROVED, "bad_benchmark", key=False),
        openapi_extra=OPEN,
    )
    async def keep_benchmark(
        node: NodePath, asked: node_schemas.BenchmarkAsked
    ) -> node_schemas.BenchmarkGiven:
        """Keep what a node measured of itself, signed by its key; the same again changes nothing.

        It is the node's own word and is shown as such; routing and money do not rest on it.
        """
        _same(node, asked.node)
        signed = SignedBenchmark(
            node=NodeId(node), nonce=asked.nonce, body=asked.body, signature=asked.signature
        )
        key = await enrolment.benchmark(signed)
        return node_schemas.BenchmarkGiven.of(await services.benchmarks.record(signed, key))

    @routes.post(
        "/nodes/{node}/leave",
        status_code=204,
        responses=errors(*_PROVED, key=False),
        openapi_extra=OPEN,
    )
    async def leave(node: NodePath, asked: node_schemas.ProofAsked) -> None:
        """Let a node go for good at its own wish; signed for `leave`."""
        await enrolment.leave(_proof(node, asked))
        services.network.remove(NodeId(node))

    return routes


def node_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes by which members see and move their nodes, and an administrator all."""
    routes = APIRouter(tags=["nodes"])
    network = services.network
    caller, admin = needs(doorkeeper, "member", "admin"), needs(doorkeeper, "admin")

    @routes.get("/nodes", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def list_nodes(
        key: Annotated[Key, Depends(caller)], limit: Limit = None, after: After = None
    ) -> node_schemas.NodesGiven:
        """List the nodes by name: a member's own, or all for an administrator."""
        behind = None if after is None else _view(services, after, key).id
        views = network.nodes(only(key), limit, behind)
        among = None if limit is None else [view.id for view in views]
        kept = await services.benchmarks.latest(among, member=only(key))
        shown = [
            node_schemas.NodeGiven.of(view, kept.get(view.id), services.figures) for view in views
        ]
        return node_schemas.NodesGiven(data=shown, after=next_after(views, limit))

    @routes.get("/nodes/{node}", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def show_node(
        node: NodePath, key: Annotated[Key, Depends(caller)]
    ) -> node_schemas.NodeGiven:
        """Show one node."""
        return await _shown(services, _view(services, node, key))

    @routes.post("/nodes/{node}/drain", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def drain(
        node: NodePath,
        key: Annotated[Key, Depends(caller)],
        asked: Annotated[node_schemas.DrainAsked | None, Body()] = None,
    ) -> node_schemas.NodeGiven:
        """Let a node finish what it does and take nothing new."""
        view = _view(services, node, key)
        await _note(services, Action.NODE_DRAINED, key, view)
        network.drain(view.id, asked.reason if asked else "")
        return await _shown(services, _view(services, node, key))

    @routes.post(
        "/nodes/{node}/undrain", responses=errors("node_not_found"), openapi_extra=SECURITY
    )
    async def undrain(
        node: NodePath, key: Annotated[Key, Depends(caller)]
    ) -> node_schemas.NodeGiven:
        """Let a drained node work again."""
        view = _view(services, node, key)
        await _note(services, Action.NODE_UNDRAINED, key, view)
        network.undrain(view.id)
        return await _shown(services, _view(services, node, key))

    @routes.post(
        "/nodes/{node}/admit",
        responses=errors("node_not_found", "node_gone"),
        openapi_extra=SECURITY,
    )
    async def admit(node: NodePath, key: Annotated[Key, Depends(admin)]) -> node_schemas.NodeGiven:
        """Let a node serve without a sandbox, or with one whose limits do not hold.

        At once here, within half a minute at other gateways; to take it back, remove the node.
        """
        view = _view(services, node, key)
        await services.enrolment.admit(view.id, by=acting(key))
        suspended = view.refused is not None and view.refused.code == "member_suspended"
        network.enrol(replace(as_enrolled(view, suspended=suspended), bare_allowed=True))
        return await _shown(services, _view(services, node, key))

    @routes.post(
        "/nodes/{node}/forfeit",
        responses=errors("node_not_found", "transfer_conflict"),
        openapi_extra=SECURITY,
    )
    async def forfeit(
        node: NodePath,
        asked: node_schemas.ForfeitAsked,
        idempotency_key: OnceKey,
        key: Annotated[Key, Depends(admin)],
    ) -> node_schemas.ForfeitedGiven:
        """Give what is held back of a node to the community; the node has to prove itself anew.

        Also of a node that was removed, of which nothing is ever released.
        """
        amount = await services.rewards.forfeit(
            NodeId(node), asked.reason, datetime.now(UTC), key=idempotency_key, by=acting(key)
        )
        if amount is None:
            raise _not_found(node)
        return node_schemas.ForfeitedGiven(id=node, amount=str(amount))

    @routes.delete("/nodes/{node}", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def remove(
        node: NodePath, key: Annotated[Key, Depends(caller)]
    ) -> node_schemas.RemovedGiven:
        """Cut a node off for good, within five seconds."""
        if only(key) is not None:
            _view(services, node, key)
        told = await services.enrolment.remove(NodeId(node), by=acting(key))
        network.remove(NodeId(node))
        return node_schemas.RemovedGiven(id=node, cut_off=told)

    return routes


async def _shown(services: Services, view: NodeView) -> node_schemas.NodeGiven:
    kept = await services.benchmarks.latest([view.id])
    return node_schemas.NodeGiven.of(view, kept.get(view.id), services.figures)


async def _note(services: Services, action: Action, key: Key, view: NodeView) -> None:
    """Record what is about to be done to a node; without an entry it is not done."""
    await services.audit.append(Entry(action, acting(key), view.id, view.member))


def _view(services: Services, node: str, key: Key) -> NodeView:
    """Find a node that the key may see. Raises: GatewayError."""
    try:
        view = services.network.node(NodeId(node))
    except KeyError:
        raise _not_found(node) from None
    if only(key) not in (None, view.member):
        raise _not_found(node)
    return view


def _not_found(node: str) -> GatewayError:
    return GatewayError("node_not_found", f"There is no node {node!r}.", param="node")


def _proof(node: str, asked: node_schemas.ProofAsked) -> Proof:
    _same(node, asked.node)
    return Proof(NodeId(node), asked.nonce, asked.signature)


def _same(path: str, body: str) -> None:
    if path != body:
        raise BadRequest("invalid_value", "'node': not the one in the path.", param="node")


__all__ = ["joining_routes", "node_routes"]
