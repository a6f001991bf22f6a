"""The API's description: FastAPI's for `/api/v1`, and `/v1` from the table of fields."""

from typing import Any, Final

import msgspec
from fastapi.openapi.utils import get_openapi

from garage_ai import __version__
from garage_ai.gateway import line
from garage_ai.gateway.coordination import Coordination
from garage_ai.gateway.coordination.access import OPEN, SECURITY, errors
from garage_ai.gateway.errors import PROBLEMS, Envelope
from garage_ai.gateway.fields import FIELDS, Field
from garage_ai.gateway.models_list import Model, ModelList
from garage_ai.gateway.openapi_files import upload_path
from garage_ai.gateway.shapes import MAX_INPUTS, MAX_PROMPTS, sequence_types
from garage_ai.wire.frames import Route
from garage_ai.wire.regions import COUNTIES

Json = dict[str, Any]

PATHS: Final[dict[Route, str]] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
_SUMMARY: Final[dict[Route, str]] = {
    "chat": "Answer a conversation",
    "completions": "Continue a text",
    "embeddings": "Turn texts into vectors",
}
_TEMPLATE: Final = "#/components/schemas/{name}"

_TEXT: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 256}

_REQUEST_ERRORS: Final = (
    "json_too_deep",
    "too_many_fields",
    "unsupported_value",
    "media_url_unsupported",
    "engine_rejected",
    "context_length_exceeded",
    "model_kind",
    "model_forbidden",
    "region_forbidden",
    "rate_limit_exceeded",
    "budget_exceeded",
    "insufficient_quota",
    "model_not_found",
    "engine_error",
    "node_lost",
    "continuation_unsound",
    "bad_node_reply",
    "nats_unavailable",
    "no_node",
    "no_capacity",
    "model_loading",
    "residency_unavailable",
    "region_unavailable",
    "shutting_down",
    "timeout",
)
_HEADERS: Final[Json] = {
    "x-request-id": "Names the request in logs and usage.",
    "x-gai-node": "The node that answered; of a stream that went on elsewhere, the one that began.",
    "x-gai-region": "Its region, or none.",
    "x-gai-trust": "Its trust class.",
    "x-gai-dropped": "Fields that were left out, comma-separated.",
    "x-ratelimit-limit-requests": "Requests that the key may make in a minute; keys with limits.",
    "x-ratelimit-remaining-requests": "How many of them are left.",
    "x-ratelimit-reset-requests": "When all of them are there again, as in `1m0s`.",
    "x-ratelimit-limit-tokens": "Tokens that the key may use in a minute; keys with limits.",
    "x-ratelimit-remaining-tokens": "How many of them are left.",
    "x-ratelimit-reset-tokens": "When all of them are there again.",
}


def describe(coordination: Coordination) -> Json:
    """Make the whole description."""
    api = get_openapi(
        title="Garage AI",
        version=__version__,
        summary="A community-owned AI network behind the OpenAI API.",
        routes=coordination.routes,
    )
    schemas: Json = api["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in api["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    _schema(Envelope, schemas)
    own = {PATHS[route]: {"post": _operation(route, schemas)} for route in FIELDS}
    for path, operations in upload_path(schemas).items():
        api["paths"][path] = operations | api["paths"].get(path, {})
    api["paths"] = own | _model_paths(schemas) | api["paths"] | _line_path() | _plain_paths()
    api["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    api["x-error-codes"] = [msgspec.to_builtins(problem) for problem in PROBLEMS.values()]
    return api


def _operation(route: Route, schemas: Json) -> Json:
    return {
        "tags": ["openai"],
        "operationId": f"openai_{route}",
        "summary": _SUMMARY[route],
        "description": "Fields that are not listed are left out and named in `x-gai-dropped`.",
        "parameters": [
            {
                "name": "x-gai-region",
                "in": "header",
                "description": "Answer from this region or not at all.",
                "schema": {"type": "string", "enum": sorted(COUNTIES)},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _body_schema(route, schemas)}},
        },
        "responses": {"200": _answer(route)} | _errors(*_REQUEST_ERRORS),
        **SECURITY,
    }


def _answer(route: Route) -> Json:
    content: Json = {"application/json": {"schema": {"type": "object"}}}
    if route != "embeddings":
        content["text/event-stream"] = {}
    headers = {
        name: {"description": why, "schema": {"type": "string"}} for name, why in _HEADERS.items()
    }
    return {"description": "The engine's answer.", "headers": headers, "content": content}


def _body_schema(route: Route, schemas: Json) -> Json:
    fields = FIELDS[route].values()
    return {
        "type": "object",
        "required": [field.name for field in fields if field.required],
        "properties": {
            field.name: _field_schema(field, schemas) for field in fields if field.fate != "drop"
        },
    }


def _field_schema(field: Field, schemas: Json) -> Json:
    if field.name in ("prompt", "input"):
        most = MAX_PROMPTS if field.name == "prompt" else MAX_INPUTS
        parts = [_schema(shape, schemas) for shape in sequence_types(most)]
        return {"anyOf": parts, "description": field.why}
    made = _schema(field.shape, schemas)
    if field.required:
        return {**made, "description": field.why}
    return {"anyOf": [made, {"type": "null"}], "description": field.why}


def _schema(shape: Any, schemas: Json) -> Json:
    (made,), components = msgspec.json.schema_components([shape], ref_template=_TEMPLATE)
    schemas.update(components)
    return made


def _model_paths(schemas: Json) -> Json:
    listed, one = _schema(ModelList, schemas), _schema(Model, schemas)
    name = {
        "name": "model",
        "in": "path",
        "required": True,
        "description": "A model's name; slashes stand as they are.",
        "schema": {"type": "string", "minLength": 1},
    }
    return {
        "/v1/models": {"get": _reading("list_models", "List the models", listed)},
        "/v1/models/{model}": {
            "get": {
                **_reading("show_model", "Show one model", one, "model_not_found"),
                "parameters": [name],
            }
        },
    }


def _reading(operation: str, summary: str, schema: Json, *codes: str) -> Json:
    return {
        "tags": ["openai"],
        "operationId": operation,
        "summary": summary,
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schema}}}
        }
        | _errors(*codes),
        **SECURITY,
    }


def _errors(*codes: str, key: bool = True) -> Json:
    return {str(status): answer for status, answer in errors(*codes, key=key).items()}


def _line_path() -> Json:
    texts = {
        "x-gai-node": "The node's id.",
        "x-gai-nonce": "A nonce of this gateway's.",
        "x-gai-signature": "The node's signature over it, for `line`.",
    }
    headers = [
        {"name": name, "in": "header", "required": True, "description": why, "schema": _TEXT}
        for name, why in texts.items()
    ]
    down = {
        "name": "down",
        "in": "query",
        "description": "Answer with so many bytes of noise.",
        "schema": {"type": "integer", "minimum": 0, "maximum": line.MAX_BYTES, "default": 0},
    }
    noise: Json = {"schema": {"type": "string", "format": "binary"}}
    counted: Json = {
        "schema": {"type": "object", "properties": {"received": {"type": "integer"}}},
    }
    codes = ("invalid_value", "proof_refused", "nonce_unusable", "node_gone", "node_not_found")
    return {
        line.PATH: {
            "post": {
                "tags": ["joining"],
                "operationId": "measure_line",
                "summary": "Measure a node's line",
                "description": (
                    f"What is sent, {line.MAX_BYTES} bytes at most, is counted and thrown away. "
                    f"A node may do so {line.MAX_RUNS} times in ten minutes."
                ),
                "parameters": [*headers, down],
                "responses": {
                    "200": {
                        "description": "How much came, or noise.",
                        "content": {
                            "application/json": counted,
                            "application/octet-stream": noise,
                        },
                    }
                }
                | _errors(*codes, "too_many_measurements", key=False),
                **OPEN,
            }
        }
    }


def _plain_paths() -> Json:
    status: Json = {"type": "object", "properties": {"status": {"type": "string"}}}
    health = {"description": "OK", "content": {"application/json": {"schema": status}}}
    database = {"type": "string", "enum": ["reachable", "away"]}
    both = {"type": "object", "properties": status["properties"] | {"database": database}}
    readiness = {"description": "OK", "content": {"application/json": {"schema": both}}}
    text = {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}
    rows: list[tuple[str, str, Json, tuple[str, ...]]] = [
        ("/health/live", "Is the gateway alive?", health, ()),
        ("/health/ready", "Does a node serve a model?", readiness, ("not_ready", "shutting_down")),
        ("/metrics", "Metrics for Prometheus", text, ()),
    ]
    return {
        path: {
            "get": {
                "tags": ["operation"],
                "operationId": path.strip("/").replace("/", "_"),
                "summary": summary,
                "responses": {"200": answer} | _errors(*codes, key=False),
                **OPEN,
            }
        }
        for path, summary, answer, codes in rows
    }


__all__ = ["PATHS", "describe"]
