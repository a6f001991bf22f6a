"""The batch room, opened: what the edge and the network lend it, and where its files are."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from garage_ai.accounts import AccountError, Key, KeyId
from garage_ai.batch import (
    Batches,
    BatchLimits,
    FileLimits,
    Files,
    FileStore,
    Finalising,
    Folder,
    Keeper,
    LineRefused,
    Reading,
    Validation,
)
from garage_ai.gateway.batch_engines import Engines
from garage_ai.gateway.batch_services import UploadLimits
from garage_ai.gateway.batch_worker import WorkPlace
from garage_ai.gateway.errors import BadRequest
from garage_ai.gateway.metrics import Metrics
from garage_ai.gateway.request import read_request
from garage_ai.serving import ServingError
from garage_ai.settings import GatewaySettings
from garage_ai.wire.frames import Route

FOLDER: Final = "files"
"""Folder below data_dir where files are, unless they are in a bucket."""


class Keys(Protocol):
    """Keys that were let in before."""

    def find(self, key: KeyId) -> Key:
        """Give a key that still works. Raises: AccountError."""
        ...


class Models(Protocol):
    """Which models there are."""

    def check(self, key: Key, model: str) -> None:
        """Refuse a model to a key. Raises: AccountError, ServingError."""


class Desk:
    """Decides about the requests of batches as the edge and serving do about others.

    `check` has the last word on a key that works, as at the edge.
    """

    def __init__(self, keys: Keys, models: Models, check: Callable[[Key], None]) -> None:
        self._keys = keys
        self._models = models
        self._check = check

    def key(self, key: KeyId) -> Key:
        """Give the key that a batch came with, within its time. Raises: LineRefused."""
        try:
            found = self._keys.find(key)
            self._check(found)
        except AccountError as error:
            raise LineRefused(error.code, str(error)) from None
        return found

    def check_model(self, key: Key, model: str) -> None:
        """Refuse a model that nobody knows, or that the key may not use. Raises: LineRefused."""
        try:
            self._models.check(key, model)
        except AccountError as error:
            raise LineRefused(error.code, str(error), "body.model") from None
        except ServingError as error:
            # A model that nobody serves at the moment may be served within the window.
            if error.status < 500:
                raise LineRefused(error.code, error.message, "body.model") from None


def read_line_body(route: Route, body: bytes) -> Reading:
    """Read a line's body as the edge reads a request's. Raises: LineRefused."""
    try:
        return read_request(route, body)
    except BadRequest as error:
        param = "body" if error.param is None else f"body.{error.param}"
        raise LineRefused(error.code, error.message, param) from None


@dataclass(frozen=True, slots=True)
class BatchRoom:
    """What of the batch room the edge uses."""

    files: Files
    batches: Batches
    keeper: Keeper
    engines: Engines


def open_batch(
    settings: GatewaySettings, stack: AsyncExitStack, desk: Desk, place: WorkPlace
) -> BatchRoom:
    """Open the room, look after batches and do their items; `stack` closes it."""
    storage, store = place.storage, _store_of(settings)
    files = Files(storage, store, file_limits(settings))
    reserve = place.promises()
    validation = Validation(
        storage,
        store,
        read=read_line_body,
        desk=desk,
        reserve=reserve,
        longest_line=settings.max_body,
        most_lines=settings.batch_member_lines,
    )
    engines = place.open_engines(stack, desk)
    finalising = Finalising(storage, files, reserve, over=engines.over)
    keeper = Keeper(storage, files, validation, finalising).start()
    stack.push_async_callback(keeper.close)
    watch_batches(place.metrics, keeper)
    seconds = settings.batch_lease_seconds
    worker = place.open_worker(
        stack, store=store, read=read_line_body, desk=desk, engines=engines, lease_seconds=seconds
    )
    keeper.on_step = worker.look
    most = BatchLimits(settings.batch_member_active, settings.batch_member_lines)
    return BatchRoom(files, Batches(storage, keeper.wake, most), keeper, engines)


def file_limits(settings: GatewaySettings) -> FileLimits:
    """Put the limits of files together."""
    return FileLimits(
        size=settings.batch_max_file,
        lines=settings.batch_max_lines,
        member_bytes=settings.batch_member_bytes,
        member_files=settings.batch_member_files,
        kept=timedelta(days=settings.batch_file_days),
    )


def upload_limits(settings: GatewaySettings) -> UploadLimits:
    """Put the limits of uploads together."""
    return UploadLimits(
        settings.batch_max_file, settings.batch_uploads, settings.batch_member_uploads
    )


def watch_batches(metrics: Metrics, keeper: Keeper) -> None:
    """Show how the room does."""
    working = "Batches that are validated, finalised or cleared away now."
    metrics.gauge("gai_batches_worked_on", working, lambda: keeper.working)
    failures = "Times that a batch or a file had to be put off."
    metrics.counter("gai_batch_failures", failures, lambda: keeper.failures)


def _store_of(settings: GatewaySettings) -> FileStore:
    if settings.batch_store is None:
        return Folder(settings.data_dir / FOLDER)
    # Loaded where it is needed: a bucket's client is in Rust and takes its memory.
    from garage_ai.batch.bucket import Bucket

    return Bucket.at(settings.batch_store)


__all__ = [
    "BatchRoom",
    "Desk",
    "file_limits",
    "open_batch",
    "read_line_body",
    "upload_limits",
    "watch_batches",
]
