"""A server the owner already runs: Ollama, LM Studio, vLLM, anything with the OpenAI API."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from garage_ai.node.body import with_model, with_own_media
from garage_ai.node.engines.link import EngineLink, HttpAnswer
from garage_ai.node.engines.port import Answer, Fence, Offer
from garage_ai.node.engines.told import Told, read_whole
from garage_ai.node.errors import EngineError, ModelMissing
from garage_ai.node.guard.words import NOTHING, Sentence
from garage_ai.wire.frames import Priority, Route
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import EngineState

_log = structlog.get_logger(__name__)

DEFAULT_SLOTS: Final = 32
CHECK_SECONDS: Final = 15.0
"""Between two looks at a server that answers; one that fails requests is looked at at once."""

ANSWER_SECONDS: Final = 5.0
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 15.0
_OK: Final = 200
_NOT_FOUND: Final = 404
_MEDIA_REFUSED: Final = msgspec.json.encode(
    {
        "error": {
            "message": "Media are taken as data: URLs; this server fetches nothing.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "media_url_unsupported",
        }
    }
)


class _Listed(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Listed] = []


_listings: Final = msgspec.json.Decoder(_Listing)


def external_digest(member: str, name: str) -> Digest:
    """Name a member's own model: nobody else's, even under the same name."""
    said = "\0".join(("external", member, name))
    return Digest("sha256:" + hashlib.sha256(said.encode()).hexdigest())


class ExternalEngine:
    """An OpenAI server at an address of the owner's choice; it is never started or stopped.

    The models are named by the owner; one that the server does not list keeps it from being ready.
    """

    kind = "external"
    fence: Final = Fence()

    def __init__(
        self,
        base: str,
        names: Sequence[str],
        *,
        member: str,
        slots: int = DEFAULT_SLOTS,
        key: str | None = None,
    ) -> None:
        self._link = EngineLink(base, key=key)
        self._base = base
        self._slots = slots
        self._offers = tuple(
            Offer(name, external_digest(member, name), name, slots=slots, external=True)
            for name in dict.fromkeys(names)
        )
        self._state: EngineState = "stopped"
        self._reason = ""
        self._listener: Callable[[], None] = _nothing
        self._task: asyncio.Task[None] | None = None
        self._doubted = asyncio.Event()

    @property
    def device(self) -> None:
        """Not known: it may be another machine's."""
        return None

    @property
    def state(self) -> EngineState:
        """Where it stands now."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is not ready; empty when it is."""
        return self._reason

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The models it serves."""
        return self._offers

    @property
    def pids(self) -> None:
        """Not ours to know: the server is the owner's."""
        return

    @property
    def load(self) -> None:
        """Say nothing: what the server does for others is its owner's business."""

    @property
    def seconds_left(self) -> float:
        """Give no guess."""
        return 0.0

    @property
    def smaller(self) -> Sentence:
        """Say nothing: the server plans for itself."""
        return NOTHING

    @property
    def memory(self) -> None:
        """Not ours to measure."""

    async def measure(self) -> None:
        """Measure nothing."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the state has changed."""
        self._listener = listener

    async def start(self) -> None:
        """Begin to look at the server; one that is looked at already is not looked at twice."""
        if self._task is not None:
            return
        self._link.open()
        self._become("loading", f"looking for the engine at {self._base}")
        self._task = asyncio.create_task(self._watch(), name="external-engine")

    async def release(self) -> None:
        """Leave the server as it is: its memory is for its owner to free."""

    async def stop(self) -> None:
        """Look no more and drop all connections."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._link.close()
        self._become("stopped", "")

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,  # noqa: ARG002 - the body says whether it streams
        salt: str = "",  # noqa: ARG002 - a server we do not know may refuse the field
        priority: Priority = "chat",  # noqa: ARG002 - and this one too
    ) -> Answer:
        """Put a request to the server. Raises: EngineError."""
        try:
            own = with_own_media(body)
            if own is None:
                return Told(400, "application/json", _MEDIA_REFUSED)
            answer = await self._link.post(route, with_model(own, offer.engine_name))
            return answer if answer.status != _NOT_FOUND else await _not_found(answer)
        except EngineError:
            self._doubted.set()
            raise

    async def missing(self) -> list[str]:
        """List the offered names that the server does not have. Raises: EngineError."""
        status, page = await self._link.get("/v1/models", seconds=ANSWER_SECONDS)
        if status != _OK:
            hint = "; set GAI_ENGINE_KEY if it wants a key" if status in (401, 403) else ""
            raise EngineError(f"{self._base}/v1/models answers {status}{hint}")
        try:
            listed = {model.id for model in _listings.decode(page).data}
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise EngineError(f"{self._base}/v1/models is no list of models") from error
        # Ollama lists `name:latest` for what it also answers to as `name`.
        return [
            offer.name
            for offer in self._offers
            if offer.name not in listed and f"{offer.name}:latest" not in listed
        ]

    async def look_once(self) -> str:
        """Say what keeps the server from being used, without beginning its life."""
        self._link.open()
        try:
            return await self.check()
        finally:
            await self._link.close()

    async def check(self) -> str:
        """Say what keeps the server from being used; empty if nothing does."""
        try:
            missing = await self.missing()
        except EngineError as error:
            return str(error)
        if missing:
            return f"{self._base} does not list {', '.join(missing)}"
        return ""

    async def _watch(self) -> None:
        failures = 0
        while True:
            self._doubted.clear()
            problem = await self.check()
            failures = failures + 1 if problem else 0
            self._become("loading" if problem else "ready", problem)
            await asyncio.sleep(_wait(failures, random.random()))  # noqa: S311 - jitter
            if not problem:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._doubted.wait(), CHECK_SECONDS)

    def _become(self, state: EngineState, reason: str) -> None:
        if (state, reason) == (self._state, self._reason):
            return
        if state != self._state:
            _log.info("engine_state", engine=self.kind, state=state, reason=reason)
        self._state, self._reason = state, reason
        self._listener()


async def _not_found(answer: HttpAnswer) -> Told:
    """Tell a model that is gone, which every server names as such, from a path that never was.

    Raises: ModelMissing, EngineError.
    """
    told = await read_whole(answer)
    if b"model" in told.body.lower():
        raise ModelMissing("the server no longer has the model")
    return told


def _wait(failures: int, draw: float) -> float:
    """Give the least seconds between two looks: doubling while it fails, half of it by chance."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failures, 10)) * (0.5 + draw / 2)


def _nothing() -> None:
    return None


__all__ = ["DEFAULT_SLOTS", "ExternalEngine", "external_digest"]
