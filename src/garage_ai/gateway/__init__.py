"""The HTTP edge: the OpenAI API, the coordination API, errors. No business rules."""

from garage_ai.gateway.app import create_app
from garage_ai.gateway.errors import PROBLEMS, GatewayError, Problem
from garage_ai.gateway.fields import FIELDS, Field
from garage_ai.gateway.listening import StartError
from garage_ai.gateway.process import serve
from garage_ai.gateway.services import Services

__all__ = [
    "FIELDS",
    "PROBLEMS",
    "Field",
    "GatewayError",
    "Problem",
    "Services",
    "StartError",
    "create_app",
    "serve",
]
