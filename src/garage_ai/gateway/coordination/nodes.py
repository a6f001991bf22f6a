"""Nodes: how they come, what they are doing, and how they go."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from garage_ai.accounts import InvalidToken
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import schemas
from garage_ai.gateway.coordination.access import OPEN, SECURITY, errors, needs
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
    async def make_nonce() -> schemas.NonceGiven:
        """Give something to sign, good for two minutes."""
        return schemas.NonceGiven(nonce=enrolment.nonce())

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
            "proof_refused",
            "invalid_token",
            "token_expired",
            "token_revoked",
            "token_used",
            "node_key_taken",
            "node_removed",
            "too_many_failures",
            key=False,
        ),
        openapi_extra=OPEN,
    )
    async def enrol(asked: schemas.EnrolAsked, request: Request) -> schemas.EnrolledGiven:
        """Enrol a node: a token, and a signature over a nonce by the node's own key.

        Asked again with the same token and key, after a lost answer, it gives the same node.
        """
        try:
            enrolled = await enrolment.enrol(EnrolRequest(**asked.model_dump()))
        except InvalidToken:
            doorkeeper.count_failure(request.scope)
            raise
        services.network.enrol(
            EnrolledNode(enrolled.node, enrolled.member, asked.name.strip(), enrolled.region)
        )
        return schemas.EnrolledGiven.model_validate(enrolled, from_attributes=True)

    @routes.post("/nodes/{node}/renew", responses=errors(*_PROVED, key=False), openapi_extra=OPEN)
    async def renew(node: NodePath, asked: schemas.ProofAsked) -> schemas.JwtGiven:
        """Give a node a new JWT when its old one has ended; signed for `renew`."""
        fresh = await enrolment.renew_by_proof(_proof(node, asked))
        return schemas.JwtGiven(jwt=fresh.jwt, urls=list(fresh.urls))

    @routes.post(
        "/nodes/{node}/key",
        responses=errors(
            *_PROVED,
            "bad_node_key",
            "invalid_field",
            "node_key_taken",
            "node_key_stale",
            key=False,
        ),
        openapi_extra=OPEN,
    )
    async def rotate(node: NodePath, asked: schemas.RotationAsked) -> schemas.JwtGiven:
        """Put a new key in a node's place: signed by the old one, proved by the new one."""
        _same(node, asked.node)
        fresh = await enrolment.rotate(
            KeyRotation(
                NodeId(node), asked.new_public_key, asked.nonce, asked.signature, asked.proof
            )
        )
        return schemas.JwtGiven(jwt=fresh.jwt, urls=list(fresh.urls))

    @routes.post(
        "/nodes/{node}/benchmarks",
        status_code=201,
        responses=errors(*_PROVED, "bad_benchmark", key=False),
        openapi_extra=OPEN,
    )
    async def keep_benchmark(
        node: NodePath, asked: schemas.BenchmarkAsked
    ) -> schemas.BenchmarkGiven:
        """Keep what a node measured of itself, signed by its key; the same again changes nothing.

        It is the node's own word and is shown as such; routing and money do not rest on it.
        """
        _same(node, asked.node)
        signed = SignedBenchmark(
            node=NodeId(node), nonce=asked.nonce, body=asked.body, signature=asked.signature
        )
        key = await enrolment.benchmark(signed)
        return schemas.BenchmarkGiven.of(await services.benchmarks.record(signed, key))

    @routes.post(
        "/nodes/{node}/leave",
        status_code=204,
        responses=errors(*_PROVED, key=False),
        openapi_extra=OPEN,
    )
    async def leave(node: NodePath, asked: schemas.ProofAsked) -> None:
        """Let a node go for good at its own wish; signed for `leave`."""
        await enrolment.leave(_proof(node, asked))
        services.network.remove(NodeId(node))

    return routes


def node_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes by which an administrator sees and moves nodes."""
    admin = Depends(needs(doorkeeper, "admin"))
    routes = APIRouter(tags=["nodes"], dependencies=[admin])
    network = services.network

    @routes.get("/nodes", responses=errors(), openapi_extra=SECURITY)
    async def list_nodes() -> schemas.NodesGiven:
        """List all nodes, by name."""
        kept = await services.benchmarks.latest()
        shown = [schemas.NodeGiven.of(view, kept.get(view.id)) for view in network.nodes()]
        return schemas.NodesGiven(data=shown)

    @routes.get("/nodes/{node}", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def show_node(node: NodePath) -> schemas.NodeGiven:
        """Show one node."""
        return await _shown(services, node)

    @routes.post("/nodes/{node}/drain", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def drain(
        node: NodePath, asked: Annotated[schemas.DrainAsked | None, Body()] = None
    ) -> schemas.NodeGiven:
        """Let a node finish what it does and take nothing new."""
        view = _view(services, node)
        network.drain(view.id, asked.reason if asked else "")
        return await _shown(services, node)

    @routes.post(
        "/nodes/{node}/undrain", responses=errors("node_not_found"), openapi_extra=SECURITY
    )
    async def undrain(node: NodePath) -> schemas.NodeGiven:
        """Let a drained node work again."""
        network.undrain(_view(services, node).id)
        return await _shown(services, node)

    @routes.post(
        "/nodes/{node}/admit",
        responses=errors("node_not_found", "node_gone"),
        openapi_extra=SECURITY,
    )
    async def admit(node: NodePath) -> schemas.NodeGiven:
        """Let a node serve without a sandbox, or with one whose limits do not hold.

        At once here, within half a minute at other gateways; to take it back, remove the node.
        """
        view = _view(services, node)
        await services.enrolment.admit(view.id)
        network.enrol(EnrolledNode(view.id, view.member, view.name, view.region, bare_allowed=True))
        return await _shown(services, node)

    @routes.delete("/nodes/{node}", responses=errors("node_not_found"), openapi_extra=SECURITY)
    async def remove(node: NodePath) -> schemas.RemovedGiven:
        """Cut a node off for good, within five seconds."""
        told = await services.enrolment.remove(NodeId(node))
        network.remove(NodeId(node))
        return schemas.RemovedGiven(id=node, cut_off=told)

    return routes


async def _shown(services: Services, node: str) -> schemas.NodeGiven:
    view = _view(services, node)
    kept = await services.benchmarks.latest(view.id)
    return schemas.NodeGiven.of(view, kept.get(view.id))


def _view(services: Services, node: str) -> NodeView:
    for view in services.network.nodes():
        if view.id == node:
            return view
    raise GatewayError("node_not_found", f"There is no node {node!r}.", param="node")


def _proof(node: str, asked: schemas.ProofAsked) -> Proof:
    _same(node, asked.node)
    return Proof(NodeId(node), asked.nonce, asked.signature)


def _same(path: str, body: str) -> None:
    if path != body:
        raise BadRequest("invalid_value", "'node': not the one in the path.", param="node")


__all__ = ["joining_routes", "node_routes"]
