"""One request from admission to its one usage record."""

from garage_ai.serving.errors import RegionForbidden, ServingError
from garage_ai.serving.models import Call
from garage_ai.serving.reply import Reply, error_event
from garage_ai.serving.service import Service

__all__ = ["Call", "RegionForbidden", "Reply", "Service", "ServingError", "error_event"]
