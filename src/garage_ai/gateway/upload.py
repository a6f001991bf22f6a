"""`POST /v1/files`: a file that is written to the store as it comes, and never held."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import Final

from garage_ai.accounts import Key, MemberId
from garage_ai.batch import UPLOAD_FOR, StoredFile, Upload
from garage_ai.gateway import asgi
from garage_ai.gateway.asgi import Receive, Send
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.batch_services import Files, UploadLimits
from garage_ai.gateway.body import BodyLimits, announced, pieces_of, refuse
from garage_ai.gateway.coordination.batch_schemas import HOUR, MONTH, FileGiven
from garage_ai.gateway.errors import BadRequest, GatewayError
from garage_ai.gateway.multipart import (
    FieldGiven,
    FileBegins,
    FileData,
    FormReader,
    Told,
    no_file,
)

PATH: Final = "/v1/files"
_AROUND: Final = 64 * 1024
"""Bytes of a form beside its file."""
_GATHERED: Final = 256 * 1024
"""Bytes that are written at once."""
_BUSY_SECONDS: Final = 5.0
"""Wait before another try; how long an upload takes is its sender's line's to say."""

_EXPIRY: Final = "expires_after[seconds]"
_DIGITS: Final = 9


class Places:
    """Uploads at a time: all of them, and a member's."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._taken: Counter[MemberId] = Counter()

    @contextmanager
    def take(self, member: MemberId) -> Iterator[None]:
        """Hold a place while the block runs. Raises: GatewayError (too_many_uploads)."""
        if self._taken[member] >= self._limits.of_member:
            raise _busy(f"A member uploads at most {self._limits.of_member} files at a time.")
        if self._taken.total() >= self._limits.at_a_time:
            raise _busy("This gateway takes as many files in as it can; try again soon.")
        self._taken[member] += 1
        try:
            yield
        finally:
            self._taken[member] -= 1
            if not self._taken[member]:
                del self._taken[member]


class UploadEndpoint:
    """Take a file in."""

    def __init__(
        self, doorkeeper: Doorkeeper, files: Files, limits: BodyLimits, uploads: UploadLimits
    ) -> None:
        self._doorkeeper = doorkeeper
        self._files = files
        self._places = Places(uploads)
        self._size = uploads.size
        self._limits = BodyLimits(
            uploads.size + _AROUND,
            UPLOAD_FOR.total_seconds(),
            limits.idle_seconds,
            limits.drain_bytes,
            limits.drain_seconds,
        )

    async def __call__(self, scope: asgi.Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises: GatewayError, BatchError, StorageError."""
        key = self._doorkeeper.admit(scope, "inference")
        async with AsyncExitStack() as stack:
            try:
                self._doorkeeper.count_call(scope, key)
                stack.enter_context(self._places.take(key.member))
            except GatewayError as error:
                raise await refuse(error, scope, receive, self._limits) from None
            file = await self._take(key, scope, receive, stack)
        body = FileGiven.of(file).model_dump_json().encode()
        request = (b"x-request-id", asgi.request_id(scope).encode())
        await asgi.answer(send, 200, body, [asgi.JSON, request, asgi.NO_STORE])

    async def _take(
        self, key: Key, scope: asgi.Scope, receive: Receive, stack: AsyncExitStack
    ) -> StoredFile:
        reader = FormReader(asgi.header(scope, b"content-type"))
        form = _Form(self._files, key, stack, announced(scope) or None)
        async for piece in self._pieces(scope, receive):
            for told in reader.feed(piece):
                await form.take(told)
        reader.finish()
        return await form.finish()

    async def _pieces(self, scope: asgi.Scope, receive: Receive) -> AsyncIterator[bytes]:
        """Give the form as it comes; what makes it too large is its file.

        Raises: GatewayError (file_too_large, request_timeout), ClientLeft.
        """
        try:
            async for piece in pieces_of(scope, receive, self._limits):
                yield piece
        except BadRequest as error:
            message = f"A file has at most {self._size} bytes."
            raise GatewayError("file_too_large", message, headers=error.headers) from None


class _Form:
    """What of a form has come; its fields may stand before or behind its file."""

    def __init__(
        self, files: Files, key: Key, stack: AsyncExitStack, announced: int | None
    ) -> None:
        self._files = files
        self._announced = announced
        self._key = key
        self._stack = stack
        self._fields: dict[str, str] = {}
        self._upload: Upload | None = None
        self._held = bytearray()

    async def take(self, told: Told) -> None:
        """Take the next part of it. Raises: BadRequest, BatchError, StorageError."""
        match told:
            case FieldGiven(name, value):
                self._fields[name] = value
                if name == "purpose":
                    _check_purpose(value)
                if name == "file":
                    raise no_file(name)
            case FileBegins(name, filename):
                await self._begin(name, filename)
            case FileData(data):
                self._held += data
                if len(self._held) >= _GATHERED:
                    await self._write()

    async def finish(self) -> StoredFile:
        """Let the file be there. Raises: BadRequest, BatchError, StorageError."""
        if self._upload is None:
            raise BadRequest("missing_required_parameter", "'file' is missing.", param="file")
        if "purpose" not in self._fields:
            raise BadRequest("missing_required_parameter", "'purpose' is missing.", param="purpose")
        expires = _expiry(self._fields)
        await self._write()
        return await self._upload.keep(expires)

    async def _begin(self, name: str, filename: str) -> None:
        if name != "file" or self._upload is not None:
            raise BadRequest("invalid_value", "One file is taken, as 'file'.", param="file")
        upload = await self._files.upload(self._key, filename, self._announced)
        self._upload = await self._stack.enter_async_context(upload)

    async def _write(self) -> None:
        if self._upload is not None:
            data, self._held = bytes(self._held), bytearray()
            await self._upload.write(data)


def _busy(message: str) -> GatewayError:
    return GatewayError("too_many_uploads", message, retry_after=_BUSY_SECONDS)


def _check_purpose(purpose: str) -> None:
    if purpose != "batch":
        message = "'purpose': files are taken for batches only: batch."
        raise BadRequest("unsupported_value", message, param="purpose")


def _expiry(fields: dict[str, str]) -> timedelta | None:
    seconds, anchor = fields.get(_EXPIRY), fields.get("expires_after[anchor]")
    if seconds is None and anchor is None:
        return None
    if anchor != "created_at":
        message = "'expires_after[anchor]': created_at."
        raise BadRequest("invalid_value", message, param="expires_after[anchor]")
    known = seconds is not None and seconds.isdecimal() and len(seconds) <= _DIGITS
    if seconds is None or not known or not HOUR <= int(seconds) <= MONTH:
        message = f"'{_EXPIRY}': {HOUR} to {MONTH}."
        raise BadRequest("invalid_value", message, param=_EXPIRY)
    return timedelta(seconds=int(seconds))


__all__ = ["PATH", "Places", "UploadEndpoint"]
