"""How `POST /v1/files` is described: FastAPI does not see it, since it is read as it comes."""

from typing import Any, Final

from garage_ai.gateway.coordination.access import SECURITY, errors
from garage_ai.gateway.coordination.batch_schemas import HOUR, MONTH, FileGiven
from garage_ai.gateway.upload import PATH

Json = dict[str, Any]

_CODES: Final = (
    "unsupported_value",
    "too_many_lines",
    "file_space_full",
    "file_too_large",
    "member_erased",
    "too_many_uploads",
    "file_store_unavailable",
)
_FORM: Final = "FileAsked"
_FIELDS: Final[Json] = {
    "file": {
        "type": "string",
        "format": "binary",
        "description": "JSONL: a line for each request, with custom_id, method, url and body.",
    },
    "purpose": {"type": "string", "enum": ["batch"]},
    "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
    "expires_after[seconds]": {"type": "integer", "minimum": HOUR, "maximum": MONTH},
}


def upload_path(schemas: Json) -> Json:
    """Describe the upload; the shape of its form is added to `schemas`."""
    schemas[_FORM] = {"type": "object", "required": ["file", "purpose"], "properties": _FIELDS}
    form, shown = ({"$ref": f"#/components/schemas/{name}"} for name in (_FORM, FileGiven.__name__))
    answers = {str(status): answer for status, answer in errors(*_CODES).items()}
    return {
        PATH: {
            "post": {
                "tags": ["batch"],
                "operationId": "upload_file",
                "summary": "Upload a file of requests",
                "description": "The file goes to the disk as it comes; nobody else can read it.",
                "requestBody": {
                    "required": True,
                    "content": {"multipart/form-data": {"schema": form}},
                },
                "responses": {
                    "200": {
                        "description": "The file.",
                        "content": {"application/json": {"schema": shown}},
                    }
                }
                | answers,
                **SECURITY,
            }
        }
    }


__all__ = ["upload_path"]
