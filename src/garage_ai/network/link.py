"""The connection to NATS, as far as the network needs it."""

from typing import Protocol

from garage_ai.wire.session import Handler


class Link(Protocol):
    """What is sent and heard."""

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a message without waiting. Raises: LinkError."""

    async def subscribe(self, subject: str, handler: Handler) -> object:
        """Hear a subject, now and after every reconnect."""

    async def wait_connected(self, seconds: float | None = None) -> None:
        """Wait until the link is up. Raises: LinkError."""


__all__ = ["Link"]
