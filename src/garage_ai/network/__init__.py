"""Who is out there and who gets the work: registry, router, dispatch."""

from garage_ai.network.admission import ImageList, Terms
from garage_ai.network.answer import Answer, Request, Trail
from garage_ai.network.books import Books
from garage_ai.network.continuation import Part
from garage_ai.network.delivered import Delivered
from garage_ai.network.dispatcher import DispatchLimits
from garage_ai.network.errors import DispatchError
from garage_ai.network.models import EnrolledNode, ModelView, NodeView
from garage_ai.network.names import KnownClaim, KnownModel, Names
from garage_ai.network.network import Network
from garage_ai.network.replies import Seen

__all__ = [
    "Answer",
    "Books",
    "Delivered",
    "DispatchError",
    "DispatchLimits",
    "EnrolledNode",
    "ImageList",
    "KnownClaim",
    "KnownModel",
    "ModelView",
    "Names",
    "Network",
    "NodeView",
    "Part",
    "Request",
    "Seen",
    "Terms",
    "Trail",
]
