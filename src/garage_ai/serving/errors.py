"""What a request may end in, as serving tells it.

ServingError (the network's DispatchError; its tree and codes are drawn there)
├── RegionForbidden    region_forbidden      403   the key is bound to another region
├── InsufficientQuota  insufficient_quota    429   the member has too few GAI
└── BooksUnavailable   storage_unavailable   503   nobody can say what the member has
"""

from garage_ai.ledger.models import in_gai
from garage_ai.network.errors import DispatchError as ServingError


class RegionForbidden(ServingError):
    code = "region_forbidden"
    status = 403
    type = "invalid_request_error"


class InsufficientQuota(ServingError):
    """Amounts are in nGAI: the most that the request may cost, and what can be spent."""

    code = "insufficient_quota"
    status = 429
    type = "insufficient_quota"

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(
            f"This request may cost up to {in_gai(needed)} GAI, and {in_gai(available)} GAI can be "
            "spent now. Ask for fewer tokens (max_tokens), lend a GPU, or wait for the next "
            "month's free share."
        )


class BooksUnavailable(ServingError):
    code = "storage_unavailable"
    status = 503


__all__ = ["BooksUnavailable", "InsufficientQuota", "RegionForbidden", "ServingError"]
