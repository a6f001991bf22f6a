"""What a request may end in, as serving tells it.

ServingError (the network's DispatchError; its tree and codes are drawn there)
└── RegionForbidden   region_forbidden   403   the key is bound to another region
"""

from garage_ai.network.errors import DispatchError as ServingError


class RegionForbidden(ServingError):
    code = "region_forbidden"
    status = 403
    type = "invalid_request_error"


__all__ = ["RegionForbidden", "ServingError"]
