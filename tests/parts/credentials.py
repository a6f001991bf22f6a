"""Credentials as a real node holds them, and a listener that remembers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from garage_ai.network.authority import Authority, UserCredentials
from garage_ai.wire.claims import Account
from garage_ai.wire.connection import Listeners
from garage_ai.wire.ids import NodeId
from garage_ai.wire.link_errors import LinkError
from garage_ai.wire.nkey import KeyPair, Role

NODE = NodeId("naaaaaaaaaaaa")
OTHER = NodeId("nbbbbbbbbbbbb")
REGION = "SE-AB"


def node_credentials(
    authority: Authority, node: NodeId = NODE, *, life: int | None = None
) -> UserCredentials:
    """Give a node's key, with a JWT minted anew at each connect."""
    return UserCredentials(
        KeyPair.generate(Role.USER), lambda key: authority.node_jwt(node, key, REGION, life=life)
    )


def cut_off(authority: Authority, count: int, at: int) -> list[str]:
    """Write down many revocations at once; one after the other they take minutes."""
    keys = [KeyPair.generate(Role.USER).public for _ in range(count)]
    claims = authority._garage()
    authority._write(claims, dict.fromkeys(keys, at), claims.iat)
    return [str(key) for key in keys]


def is_revoked(authority: Authority, key: str, issued_at: float) -> bool:
    """Tell whether a server would refuse a JWT of this key, issued then."""
    account = authority._garage().nats
    assert isinstance(account, Account)
    revocations = account.revocations
    return issued_at <= max(revocations.get(key, -1), revocations.get("*", -1))


@dataclass
class Told:
    """What a link told its owner, in order."""

    connected: list[str] = field(default_factory=list)
    lost: list[LinkError] = field(default_factory=list)
    errors: list[LinkError] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def listeners(self) -> Listeners:
        """Give the listeners that fill this."""

        def note(add: Callable[..., None]) -> Callable[..., None]:
            def listener(*what: object) -> None:
                add(*what)
                self._news.set()

            return listener

        return Listeners(
            on_connect=note(self.connected.append),
            on_disconnect=note(self.lost.append),
            on_error=note(self.errors.append),
        )

    async def until(self, wanted: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until something has been told."""
        async with asyncio.timeout(seconds):
            while not wanted():
                self._news.clear()
                await self._news.wait()
