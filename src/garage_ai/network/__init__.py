"""Who is out there and who gets the work: registry, router, dispatch."""

from garage_ai.network.continuation import Part
from garage_ai.network.dispatcher import Answer, DispatchLimits, Request
from garage_ai.network.errors import DispatchError
from garage_ai.network.models import EnrolledNode, ModelView, NodeView
from garage_ai.network.names import CHAT_ALIAS, KnownModel, Names
from garage_ai.network.network import Books, Network

__all__ = [
    "CHAT_ALIAS",
    "Answer",
    "Books",
    "DispatchError",
    "DispatchLimits",
    "EnrolledNode",
    "KnownModel",
    "ModelView",
    "Names",
    "Network",
    "NodeView",
    "Part",
    "Request",
]
