"""What a node and a gateway say to each other over HTTP (JSON) about who the node is."""

from typing import Annotated

import msgspec

from garage_ai.wire.identity import (
    KeyText,
    NodeIdentity,
    Nonce,
    Purpose,
    Signature,
    enrolment_text,
    proof_text,
    token_digest,
)
from garage_ai.wire.ids import NodeId

MAX_NAME = 200

Token = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
NodeName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Urls = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=512)], ...], msgspec.Meta(max_length=64)
]
NodeText = Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask to become a node; `unsandboxed` says that an engine runs without a sandbox.

    `agent` is the version of the node's agent.
    """

    token: Token
    public_key: KeyText
    nonce: Nonce
    signature: Signature
    name: NodeName
    unsandboxed: bool = False
    agent: Annotated[str, msgspec.Meta(max_length=128)] = ""


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """What a new node needs: whose it is, where to connect, in order, and with what.

    `ca_pem` is the network's own CA, None where the system's are to be trusted; `versions` are
    the wire versions the gateway speaks.
    """

    node: NodeText
    member: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    region: Annotated[str, msgspec.Meta(max_length=16)] | None
    urls: Urls
    jwt: Annotated[str, msgspec.Meta(max_length=16_384)]
    ca_pem: Annotated[str, msgspec.Meta(max_length=65_536)] | None
    versions: Annotated[tuple[int, ...], msgspec.Meta(max_length=16)]


class Proof(msgspec.Struct, frozen=True):
    """Show to be a node without NATS: when its JWT has ended, or to leave."""

    node: NodeText
    nonce: Nonce
    signature: Signature


class FreshJwt(msgspec.Struct, frozen=True):
    """A new JWT for a node, and where to connect with it, should that have changed."""

    jwt: Annotated[str, msgspec.Meta(max_length=16_384)]
    urls: Urls = ()


def sign_enrolment(
    identity: NodeIdentity,
    token: str,
    nonce: str,
    name: str,
    *,
    unsandboxed: bool = False,
    agent: str = "",
) -> EnrolRequest:
    """Make a node's request, signed over the gateway's nonce; the key itself stays."""
    text = enrolment_text(nonce, token_digest(token), identity.public_key)
    return EnrolRequest(
        token=token,
        public_key=identity.public_key,
        nonce=nonce,
        signature=identity.sign_text(text),
        name=name,
        unsandboxed=unsandboxed,
        agent=agent,
    )


def sign_proof(identity: NodeIdentity, purpose: Purpose, node: NodeId, nonce: str) -> Proof:
    """Make a node's proof of itself for one purpose."""
    text = proof_text(purpose, node, nonce, identity.public_key)
    return Proof(node, nonce, identity.sign_text(text))
