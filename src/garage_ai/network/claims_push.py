"""Telling the NATS servers of a new account JWT: how a revocation comes into force."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Sequence
from itertools import count
from typing import Annotated, Final

import msgspec
import structlog

from garage_ai.network.authority import CLAIMS_UPDATE, Authority, new_inbox
from garage_ai.network.authority_errors import AuthorityError, ClaimsNotPushed
from garage_ai.wire.connection import Backoff, Connection, Message, connect
from garage_ai.wire.link_errors import LinkError

_log = structlog.get_logger(__name__)
_OK: Final = 200
_MAX_ANSWER: Final = 64 * 1024

PUSH_SECONDS: Final = 4.0
"""A revocation is to bite within five seconds."""


class _Verdict(msgspec.Struct, frozen=True):
    code: int = 0
    message: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class _Answer(msgspec.Struct, frozen=True):
    data: _Verdict | None = None
    error: _Verdict | None = None


_answers: Final = msgspec.json.Decoder(_Answer)


def _read(payload: bytes) -> _Verdict:
    if len(payload) > _MAX_ANSWER:
        return _Verdict(description="an answer too long")
    try:
        answer = _answers.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return _Verdict(description=str(error)[:200])
    return answer.error or answer.data or _Verdict(description="an empty answer")


class ClaimsPusher:
    """Pushes the garage account over the system account, to whichever server answers.

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
        self._later: asyncio.Task[None] | None = None

    async def push(self, jwt: str | None = None) -> None:
        """Give the servers the account as it stands.

        Raises: ClaimsNotPushed; what was recorded stays recorded and goes with the next push.
        """
        account = await asyncio.to_thread(self._authority.garage_jwt) if jwt is None else jwt
        try:
            async with asyncio.timeout(self._seconds):
                verdict = await self._ask(account)
        except TimeoutError as error:
            raise ClaimsNotPushed("no server answered in time") from error
        except LinkError as error:
            raise ClaimsNotPushed(f"no server reached: {error}") from error
        if verdict.code != _OK:
            raise ClaimsNotPushed(verdict.description or verdict.message)
        _log.info("account_pushed", detail=verdict.message)

    async def revoke(self, key: str, before: float | None = None) -> bool:
        """Cut a key off: recorded for good, then told to the servers.

        True if they know; False if none could be told now: it is tried until one is, and a server
        that starts with our configuration knows anyway. Raises: AuthorityError.
        """
        jwt = await self._authority.record_revocation_async(key, before)
        try:
            await self.push(jwt)
        except ClaimsNotPushed as error:
            _log.warning("revocation_not_pushed", detail=str(error))
            self._push_later()
            return False
        return True

    def _push_later(self) -> None:
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._until_pushed(), name="claims-push")

    async def _until_pushed(self) -> None:
        for tries in count(1):
            jitter = self._random.random()
            await asyncio.sleep(self._backoff.delay(tries, refused=False, jitter=jitter))
            try:
                # Read anew each time: more may have been revoked meanwhile.
                await self.push()
            except (ClaimsNotPushed, AuthorityError) as error:
                _log.warning("revocation_not_pushed", detail=str(error), tries=tries)
            else:
                return

    async def close(self) -> None:
        """Stop trying; what is recorded stays recorded."""
        task, self._later = self._later, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _ask(self, account: str) -> _Verdict:
        link = await connect(
            self._urls,
            credentials=self._authority.system_credentials(),
            name="gai-claims",
            tls=self._tls,
            give_up_after=self._seconds,
        )
        try:
            return await self._request(link, account)
        finally:
            await link.close()

    async def _request(self, link: Connection, account: str) -> _Verdict:
        answered: asyncio.Future[_Verdict] = asyncio.get_running_loop().create_future()

        def on_answer(message: Message) -> None:
            if not answered.done():
                answered.set_result(
                    _Verdict(description="the server keeps no accounts (no full resolver)")
                    if message.no_responders
                    else _read(message.payload)
                )

        inbox = new_inbox()
        await link.subscribe(inbox, on_answer)
        link.publish(CLAIMS_UPDATE, account.encode(), inbox)
        return await answered


__all__ = ["PUSH_SECONDS", "ClaimsPusher"]
