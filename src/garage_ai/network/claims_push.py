"""Telling the NATS servers who is cut off: how a revocation comes into force.

The servers keep one JWT of the account, the newest. Gateways whose folders are copies each write
their own; so before one is pushed, what the servers know is taken over, and what another gateway
pushed in the same moment, or servers that were apart forgot, is put right by looking again.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Sequence
from typing import Annotated, Final, Self

import msgspec
import structlog

from garage_ai.network.authority import CLAIMS_UPDATE, Authority, new_inbox
from garage_ai.network.authority_errors import AuthorityError, ClaimsNotPushed
from garage_ai.wire.connection import Backoff, Connection, Message, connect
from garage_ai.wire.link_errors import LinkError

_log = structlog.get_logger(__name__)
_OK: Final = 200
_MAX_ANSWER: Final = 1024 * 1024
"""An account with all its revocations; a server's messages are no longer."""

PUSH_SECONDS: Final = 4.0
"""A revocation is to bite within five seconds."""

SOON_SECONDS: Final = PUSH_SECONDS + 1
"""After a push it is looked again: whoever had looked before it has pushed by then."""

LOOK_SECONDS: Final = 60.0
"""How often it is looked without one."""


class _Verdict(msgspec.Struct, frozen=True):
    code: int = 0
    message: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class _Answer(msgspec.Struct, frozen=True):
    data: _Verdict | None = None
    error: _Verdict | None = None


_answers: Final = msgspec.json.Decoder(_Answer)


def _read(payload: bytes) -> _Verdict:
    try:
        answer = _answers.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return _Verdict(description=str(error)[:200])
    return answer.error or answer.data or _Verdict(description="an empty answer")


class ClaimsPusher:
    """Agrees with whichever server answers on the garage account, over the system account.

    Servers of one cluster pass it on among themselves.
    """

    def __init__(
        self,
        authority: Authority,
        urls: Sequence[str],
        tls: ssl.SSLContext | None = None,
        *,
        seconds: float = PUSH_SECONDS,
    ) -> None:
        self._authority = authority
        self._urls = urls
        self._tls = tls
        self._seconds = seconds
        self._backoff = Backoff(first=1.0, cap=30.0)
        self._random = random.SystemRandom()
        self._failures = 0
        self._wanted = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> Self:
        """Look again and again whether the servers know all, from now on; `close` ends that."""
        self._wanted.set()
        self._looking = asyncio.create_task(self._look(), name="claims-look")
        return self

    async def agree(self) -> None:
        """Let this folder and the servers know what either did.

        Raises: ClaimsNotPushed, AuthorityError; what was recorded stays recorded.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._agree()
        except TimeoutError as error:
            raise ClaimsNotPushed("no server answered in time") from error
        except LinkError as error:
            raise ClaimsNotPushed(f"no server reached: {error}") from error

    async def revoke(self, key: str, before: float | None = None) -> bool:
        """Cut a key off: recorded for good, then told to the servers.

        True if they know; False if none could be told now: it is tried until one is, and a server
        that starts with our configuration knows anyway. Raises: AuthorityError.
        """
        await self._authority.record_revocation_async(key, before)
        return await self._agreed()

    async def close(self) -> None:
        """Stop looking; what is recorded stays recorded."""
        task, self._looking = self._looking, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS * self._random.uniform(0.8, 1.2)):
                    await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(self._pause())
            await self._agreed()

    def _pause(self) -> float:
        if not self._failures:
            return SOON_SECONDS * self._random.uniform(1.0, 1.5)
        return self._backoff.delay(self._failures, refused=False, jitter=self._random.random())

    async def _agreed(self) -> bool:
        """Agree, or see to it that it is tried again."""
        try:
            await self.agree()
        except (AuthorityError, OSError) as error:  # a full disk, too
            self._failures += 1
            self._wanted.set()
            _log.warning("account_not_agreed", detail=str(error), tries=self._failures)
            return False
        self._failures = 0
        return True

    async def _agree(self) -> None:
        link = await connect(
            self._urls,
            credentials=self._authority.system_credentials(),
            name="gai-claims",
            tls=self._tls,
            give_up_after=self._seconds,
        )
        try:
            known = await _ask(link, self._authority.claims_lookup, b"")
            lacking = await asyncio.to_thread(
                self._authority.agree, known.decode("ascii", "replace")
            )
            if lacking is not None:
                self._wanted.set()
                await _push(link, lacking)
        finally:
            await link.close()


async def _push(link: Connection, account: str) -> None:
    verdict = _read(await _ask(link, CLAIMS_UPDATE, account.encode()))
    if verdict.code != _OK:
        raise ClaimsNotPushed(verdict.description or verdict.message)
    _log.info("account_pushed", detail=verdict.message)


async def _ask(link: Connection, subject: str, payload: bytes) -> bytes:
    """Ask the servers; the first answer counts. Raises: ClaimsNotPushed."""
    answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def on_answer(message: Message) -> None:
        if not answered.done():
            answered.set_result(message)

    inbox = new_inbox()
    await link.subscribe(inbox, on_answer)
    link.publish(subject, payload, inbox)
    message = await answered
    if message.no_responders:
        raise ClaimsNotPushed("the server keeps no accounts (no full resolver)")
    if len(message.payload) > _MAX_ANSWER:
        raise ClaimsNotPushed("a server's answer is too long")
    return message.payload


__all__ = ["LOOK_SECONDS", "PUSH_SECONDS", "SOON_SECONDS", "ClaimsPusher"]
