"""`/v1/files` and `/v1/batches` in OpenAI's format; an upload is read by `gateway.upload`."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from garage_ai.accounts import Key
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination.access import (
    SECURITY,
    Admitted,
    IdempotencyKey,
    errors,
    needs,
)
from garage_ai.gateway.coordination.batch_schemas import (
    BatchAsked,
    BatchesGiven,
    BatchGiven,
    FileDeleted,
    FileGiven,
    FilesGiven,
)
from garage_ai.gateway.coordination.paging import After
from garage_ai.gateway.coordination.paths import IdPath
from garage_ai.gateway.services import Services

MAX_FILES: Final = 10_000
"""Files that OpenAI's clients may ask for, and do where they do not say."""
FILES_AT_ONCE: Final = 1000
"""Files in one list: some milliseconds of writing; `has_more` tells that there are others."""

_CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file's bytes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def file_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of files."""
    routes = APIRouter(prefix="/v1/files", tags=["batch"])
    caller = needs(doorkeeper, "inference")
    files = services.files

    @routes.get("", responses=errors("file_not_found"), openapi_extra=SECURITY)
    async def list_files(
        key: Annotated[Key, Depends(caller)],
        after: After = None,
        limit: Annotated[
            int,
            Query(ge=1, le=MAX_FILES, description=f"At most {FILES_AT_ONCE} come at once."),
        ] = MAX_FILES,
        order: Literal["asc", "desc"] = "desc",
        purpose: Annotated[str | None, Query(max_length=32)] = None,
    ) -> FilesGiven:
        """List the member's files, newest first."""
        most = min(limit, FILES_AT_ONCE)
        return FilesGiven.of(await files.list(key.member, most, after, purpose, order))

    @routes.get("/{file_id}", responses=errors("file_not_found"), openapi_extra=SECURITY)
    async def show_file(file_id: IdPath, key: Annotated[Key, Depends(caller)]) -> FileGiven:
        """Show one file."""
        return FileGiven.of(await files.get(key.member, file_id))

    @routes.get(
        "/{file_id}/content",
        responses=errors("file_not_found", "file_store_unavailable") | _CONTENT,
        openapi_extra=SECURITY,
        response_class=StreamingResponse,
    )
    async def file_content(
        file_id: IdPath, key: Annotated[Key, Depends(caller)]
    ) -> StreamingResponse:
        """Give a file's bytes as they were uploaded, or a batch's results."""
        file, pieces = await files.content(key.member, file_id)
        # A store that is away says so before the answer begins.
        first = await anext(pieces, b"")
        return StreamingResponse(
            _joined(first, pieces),
            media_type="application/octet-stream",
            headers={"content-length": str(file.bytes)},
        )

    @routes.delete(
        "/{file_id}",
        responses=errors("file_not_found", "file_in_use"),
        openapi_extra=SECURITY,
    )
    async def delete_file(file_id: IdPath, key: Annotated[Key, Depends(caller)]) -> FileDeleted:
        """Delete a file, unless a batch still reads it."""
        await files.delete(key, file_id)
        return FileDeleted(id=file_id)

    return routes


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def batch_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of batches."""
    routes = APIRouter(prefix="/v1/batches", tags=["batch"])
    caller = needs(doorkeeper, "inference")
    _submit_route(routes, services, caller)
    batches, engines = services.batches, services.engines

    @routes.get("", responses=errors("batch_not_found"), openapi_extra=SECURITY)
    async def list_batches(
        key: Annotated[Key, Depends(caller)],
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> BatchesGiven:
        """List the member's batches, newest first."""
        return BatchesGiven.of(await batches.list(key.member, limit, after), engines)

    @routes.get("/{batch_id}", responses=errors("batch_not_found"), openapi_extra=SECURITY)
    async def show_batch(batch_id: IdPath, key: Annotated[Key, Depends(caller)]) -> BatchGiven:
        """Show one batch."""
        return BatchGiven.of(await batches.get(key.member, batch_id), engines)

    @routes.post(
        "/{batch_id}/cancel",
        responses=errors("batch_not_found", "batch_ended"),
        openapi_extra=SECURITY,
    )
    async def cancel_batch(batch_id: IdPath, key: Annotated[Key, Depends(caller)]) -> BatchGiven:
        """Let nothing more of a batch begin; what was done by then is in its files."""
        return BatchGiven.of(await batches.cancel(key, batch_id), engines)

    return routes


def _submit_route(routes: APIRouter, services: Services, caller: Admitted) -> None:
    batches, engines = services.batches, services.engines

    @routes.post(
        "",
        responses=errors(
            "file_not_found",
            "idempotency_conflict",
            "batch_limit_exceeded",
        ),
        openapi_extra=SECURITY,
    )
    async def create_batch(
        asked: BatchAsked,
        key: Annotated[Key, Depends(caller)],
        idempotency_key: IdempotencyKey = None,
    ) -> BatchGiven:
        """Submit a batch; its file is looked at line by line before it begins."""
        return BatchGiven.of(await batches.submit(key, asked.submission, idempotency_key), engines)


__all__ = ["batch_routes", "file_routes"]
