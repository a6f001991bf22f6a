"""One request from admission to its one usage record."""

from garage_ai.serving.admission import UNKNOWN_CONTEXT, worst_case
from garage_ai.serving.billing import Billing, Earner, is_free
from garage_ai.serving.books import Bill, Books
from garage_ai.serving.errors import RegionForbidden, ServingError
from garage_ai.serving.models import Bound, Call
from garage_ai.serving.recount import Recount
from garage_ai.serving.reply import Reply, error_event
from garage_ai.serving.service import Service

__all__ = [
    "UNKNOWN_CONTEXT",
    "Bill",
    "Billing",
    "Books",
    "Bound",
    "Call",
    "Earner",
    "Recount",
    "RegionForbidden",
    "Reply",
    "Service",
    "ServingError",
    "error_event",
    "is_free",
    "worst_case",
]
