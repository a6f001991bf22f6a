"""The lines that a worker writes into a batch's output and error files."""

from garage_ai.batch.results import answered, unanswered
from garage_ai.batch.worker.items import Item, Lost


def line_of(item: Item, status: int, body: bytes) -> bytes:
    """Write what an item was answered, with the HTTP status of the answer."""
    request = item.request_id
    place = item.batch, item.line, item.custom_id
    return answered(*place, status=status, request_id=request, body=body)


def given_up(lost: Lost) -> bytes:
    """Write that gateways began an item again and again, and none was there at its end."""
    words = f"{lost.losses} gateways began this request and stopped before it ended."
    return unanswered(lost.batch, lost.line, lost.custom_id, "worker_lost", words)


__all__ = ["given_up", "line_of"]
