"""What a gateway's edge sees of the network, with one node in it that is played."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from garage_ai.network.admission import ImageList
from garage_ai.network.models import EnrolledNode, ModelView, NodeView
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.messages import ModelServed

DIGEST = "sha256:" + "a" * 64
NODE = NodeId("nabcdefghijkl")


@dataclass
class PlayedNetwork:
    """One node that serves one model."""

    ready: bool = True
    enrolled: list[EnrolledNode] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    others: list[NodeView] = field(default_factory=list)
    images: ImageList = field(default_factory=ImageList)
    compared: int = 0
    shown_to: str | None = None

    def nodes(
        self, member: str | None = None, limit: int | None = None, after: NodeId | None = None
    ) -> list[NodeView]:
        own = [] if NODE in self.removed else [node_view("draining" if self.drained else "ready")]
        shown = [view for view in (*own, *self.others) if member in (None, view.member)]
        begin = 0 if after is None else 1 + [view.id for view in shown].index(after)
        return shown[begin:][:limit]

    def node(self, node_id: NodeId) -> NodeView:
        return {view.id: view for view in self.nodes()}[node_id]

    def show(self, node: NodeId, member: str = "mbr_operator") -> None:
        self.others.append(replace(node_view("ready"), id=node, member=member))

    def models(
        self, allowed: Collection[str] | None = None, member: str | None = None
    ) -> list[ModelView]:
        self.shown_to = member
        if not self.ready or (allowed is not None and "org/small" not in allowed):
            return []
        return [
            ModelView("garage-chat", Digest(DIGEST), "chat", 8192, 1, 8, alias_of="org/small"),
            ModelView("org/small", Digest(DIGEST), "chat", 8192, 1, 8),
        ]

    def enrol(self, node: EnrolledNode) -> None:
        self.enrolled.append(node)

    def drain(self, node_id: NodeId, reason: str) -> None:
        self.drained.append(reason)

    def undrain(self, node_id: NodeId) -> None:
        self.drained.clear()

    def images_are(self, images: ImageList) -> None:
        self.images = images

    def compare(self) -> None:
        self.compared += 1

    def remove(self, node_id: NodeId) -> None:
        self.removed.append(node_id)


def node_view(state: str) -> NodeView:
    """Show a node in a state."""
    return NodeView(
        id=NODE,
        name="garage",
        member="mbr_operator",
        region="SE-AB",
        trust="unverified",
        sandbox="podman",
        limits=True,
        share="all",
        bare_allowed=False,
        image=None,
        image_state="unknown",
        state=state,  # type: ignore[arg-type]
        reason="",
        refused=None,
        models=(ModelServed("org/small", DIGEST),),
        inflight=0,
        last_beat_age=1.0,
        clock_skew=0.0,
        agent="0.1",
        free_memory=1,
        free_vram=0,
    )
