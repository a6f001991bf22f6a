"""Whether a node gets work: what a network asks of its agent, its sandbox and its image. Pure.

Asked in this order, and the first that is not met is told to the owner:

    member_suspended     the network's operator has suspended the member that the node belongs to
    agent_too_old        the agent is older than the oldest that the network works with
    sandbox_needed       the engine runs without a whole sandbox, and nobody has allowed that
    image_not_approved   its container is made from an image that no administrator knows, or whose
                         image, content or base one has revoked

Of a gang every rig is asked, and its leader told as `rig_refused` which one is refused (`gangs`).

All of it rests on the node's own word. It keeps honest owners from mistakes and from bad images; it
is no proof, and stops nobody who lies.
"""

from dataclasses import dataclass
from typing import Final

from garage_ai.network.models import ImageState, Node, Refusal
from garage_ai.wire.messages import EngineImage, ModelServed
from garage_ai.wire.versions import AgentVersion, agent_version

SANDBOX_NEEDED: Final = Refusal(
    "sandbox_needed",
    "This network serves only from engines in a sandbox whose limits hold: run the node with "
    "--sandbox auto, or let an administrator admit it as it is.",
)


MEMBER_SUSPENDED: Final = Refusal(
    "member_suspended",
    "The operator of this network has suspended the member that this node belongs to.",
)


@dataclass(frozen=True, slots=True)
class ImageList:
    """The digests that administrators have decided about."""

    approved: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()

    def state(self, image: EngineImage | None) -> ImageState:
        """Say how an image stands: a revoked base revokes what was built on it."""
        if image is None:
            return "unknown"
        if not self.revoked.isdisjoint(_digests(image)):
            return "revoked"
        if image.content is not None:
            return "built"
        return "approved" if image.digest in self.approved else "pending"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a network asks of a node before it gives it work.

    `allow_unsandboxed` asks for no sandbox, and so not what it is made from; `min_agent` None asks
    for no version.
    """

    allow_unsandboxed: bool = False
    min_agent: AgentVersion | None = None
    images: ImageList = ImageList()

    def refusal(self, node: Node, served: ModelServed) -> Refusal | None:
        """Say why a node may not serve a model; None if it may."""
        if node.enrolled.suspended:
            return MEMBER_SUSPENDED
        if self.min_agent is not None:
            said = agent_version(node.beat.agent) if node.beat is not None else None
            if said is None or said < self.min_agent:
                return agent_too_old(said, self.min_agent)
        if self.allow_unsandboxed or node.enrolled.bare_allowed or served.external:
            return None
        if not node.is_fenced:
            return SANDBOX_NEEDED
        return _image_refusal(node.image, self.images.state(node.image))


def agent_too_old(said: AgentVersion | None, oldest: AgentVersion) -> Refusal:
    """Say so, and what to type."""
    now = f"version {said}" if said is not None else "of an unknown version"
    return Refusal(
        "agent_too_old",
        f"This network works with agents from version {oldest} on, and this one is {now}. "
        "Update it with: gai node update",
    )


def _image_refusal(image: EngineImage | None, state: ImageState) -> Refusal | None:
    if state in ("built", "approved"):
        return None
    if image is None:
        words = "The node does not say from which image its engine's container is made."
    elif state == "revoked":
        words = f"An administrator has revoked the engine's image {image.digest}, or its base."
    else:
        words = (
            f"The engine's image {image.digest} is not approved yet; an administrator does it "
            f"with: gai image approve {image.digest}"
        )
    return Refusal("image_not_approved", words)


def _digests(image: EngineImage) -> set[str]:
    """Give every digest that an image is known by or stands on."""
    named = {image.digest, image.base.rpartition("@")[2]}
    return named | ({image.content} if image.content is not None else set())


__all__ = [
    "MEMBER_SUSPENDED",
    "SANDBOX_NEEDED",
    "ImageList",
    "Terms",
    "agent_too_old",
]
