"""A gateway's edge on a real port, with real accounts, and engines and nodes that are played."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.parts.batch_room import NoEngines, batch_room
from tests.parts.played_network import NODE, PlayedNetwork

from garage_ai.accounts import (
    Benchmarks,
    EnrolmentTokens,
    ExternalModels,
    Images,
    Invites,
    Key,
    KeyRing,
    Leases,
    LimitBook,
    Limits,
    LimitSettings,
    Manifests,
    Members,
    Nodes,
    StoredPools,
)
from garage_ai.audit.service import AuditLog
from garage_ai.batch import Batches, FileLimits, Folder, Keeper
from garage_ai.gateway.app import create_app
from garage_ai.gateway.asgi import App
from garage_ai.gateway.batch_services import UploadLimits
from garage_ai.gateway.body import BodyLimits
from garage_ai.gateway.books import StoredUsage
from garage_ai.gateway.catalogue import NetworkCatalogue
from garage_ai.gateway.leaving import Leaving
from garage_ai.gateway.listening import bind
from garage_ai.gateway.metrics import Metrics
from garage_ai.gateway.own_data import StoredData
from garage_ai.gateway.server import Server, make_server
from garage_ai.gateway.services import Services
from garage_ai.ledger import Grants, Ledger, UsageWriter
from garage_ai.ledger.prices import ANY_MODEL, PriceList
from garage_ai.ledger.proxied import Proxied
from garage_ai.ledger.reward_jobs import RewardJobs
from garage_ai.ledger.rewards import Rules
from garage_ai.ledger.tariff import tariff, usual_price
from garage_ai.network.authority import Authority
from garage_ai.network.enrolment import Enrolment, Revoker
from garage_ai.network.errors import DispatchError, NoNode, UnknownModel
from garage_ai.network.models import Census
from garage_ai.serving.models import Call
from garage_ai.storage import LastSeen, Storage, sqlite_url
from garage_ai.wire.versions import AgentVersion


def chunk_event(text: str) -> bytes:
    """Make one event of a streamed chat answer."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "garage-chat",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
PLAIN = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "garage-chat",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
).encode()


@dataclass
class PlayedReply:
    """An answer that plays its chunks, then waits for the gate if there is one."""

    chunks: Sequence[bytes]
    content_type: str
    gate: asyncio.Event | None = None
    fails: Exception | None = None
    status: int = 200
    node: str = NODE
    region: str = "SE-AB"
    trust: str = "unverified"
    headers: Sequence[tuple[bytes, bytes]] = ()
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    closed_at: float = 0.0
    outcome: str = ""
    sent: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
            self.sent += len(chunk)
        if self.fails is not None:
            raise self.fails
        if self.gate is not None:
            await self.gate.wait()

    async def aclose(self, outcome: str = "client_closed") -> None:
        if not self.closed.is_set():
            self.outcome = outcome
            self.closed_at = asyncio.get_running_loop().time()
            self.closed.set()


@dataclass
class PlayedServing:
    """Serving that does what the model's name asks for."""

    calls: list[Call] = field(default_factory=list)
    replies: list[PlayedReply] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    opening: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: str = ""

    def forget(self) -> None:
        """Begin anew."""
        self.calls.clear()
        self.replies.clear()
        self.opened.clear()

    def check(self, key: Key, model: str) -> None:
        if model == "missing":
            raise UnknownModel("The model 'missing' does not exist.")

    async def open(
        self, call: Call, given_up: Callable[[], str] = lambda: "client_closed"
    ) -> PlayedReply:
        self.calls.append(call)
        try:
            reply = await self._reply(call)
        except asyncio.CancelledError:
            self.given_up = given_up()
            self.cancelled.set()
            raise
        self.replies.append(reply)
        self.opened.set()
        return reply

    async def _reply(self, call: Call) -> PlayedReply:
        kind = "text/event-stream" if call.stream else "application/json"
        events = [chunk_event("Hello"), chunk_event(" there"), DONE]
        match call.model:
            case "missing":
                raise UnknownModel("The model 'missing' does not exist.")
            case "nobody":
                raise NoNode("No node serves it.", retry_after=2.5)
            case "broken":
                raise RuntimeError("secret prompt in an exception")
            case "hanging":
                await self._hang()
            case "held":
                return PlayedReply(events[:1] if call.stream else [], kind, self.gate)
            case "huge":
                return PlayedReply([b"data: " + b"x" * 100_000 + b"\n\n"] * 400, kind, self.gate)
            case "breaking":
                return PlayedReply(events[:1], kind, fails=DispatchError("lost"))
            case "odd":
                return PlayedReply(events, kind, region="a\r\nset-cookie: x", node="n\u00e5")
        return PlayedReply(events if call.stream else [PLAIN], kind)

    async def _hang(self) -> None:
        self.opening.set()
        await self.gate.wait()


@dataclass
class PlayedRevoker:
    """Remember whom the servers were told to cut off; tell real ones too, where there are any."""

    revoked: list[str] = field(default_factory=list)
    real: Revoker | None = None

    async def revoke(self, key: str, before: float | None = None) -> bool:
        self.revoked.append(key)
        return True if self.real is None else await self.real.revoke(key, before)


@dataclass
class Edge:
    """A running edge and what is behind it."""

    server: Server
    port: int
    services: Services
    serving: PlayedServing
    network: PlayedNetwork
    revoker: PlayedRevoker
    storage: Storage
    usage: UsageWriter
    admin: str
    user: str
    user_id: str
    keeper: Keeper

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.user}"}

    @property
    def admin_bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.admin}"}


@asynccontextmanager
async def running_edge(
    folder: Path,
    *,
    limits: BodyLimits | None = None,
    default_limits: LimitSettings | None = None,
    cors_origins: tuple[str, ...] = (),
    ca: str | None = None,
    ca_fingerprint: str | None = None,
    grace_seconds: float = 1.0,
    nats_urls: Sequence[str] = ("nats://127.0.0.1:1",),
    min_agent: AgentVersion | None = None,
    uploads: UploadLimits | None = None,
    database: str | None = None,
    file_limits: FileLimits | None = None,
) -> AsyncIterator[Edge]:
    """Run an edge until the block ends, on a file of its own where no database is given."""
    async with AsyncExitStack() as stack:
        storage = await Storage.open(database or sqlite_url(folder / "edge.db"))
        stack.push_async_callback(storage.close)
        usage = UsageWriter.start(Ledger(storage))
        stack.push_async_callback(usage.close)
        seen = LastSeen.start(storage)
        stack.push_async_callback(seen.close)
        book = await LimitBook.open(storage)
        stack.push_async_callback(book.close)
        keys = await KeyRing.open(storage, on_use=seen.key, limits=book.refresh)
        stack.push_async_callback(keys.close)
        leases = Leases(StoredPools(storage), "edge")
        leases.start()
        stack.push_async_callback(leases.close)
        key_limits = Limits(book, leases)
        admin = await keys.ensure_admin_key(folder / "admin.key")
        user, secret = await keys.create("user")
        assert secret is not None
        serving, network, revoker = PlayedServing(), PlayedNetwork(), PlayedRevoker()
        authority = Authority.open_or_create(folder / "nats")
        metrics = Metrics()
        metrics.watch_nodes(lambda: Census({"ready": 1}, 0))
        catalogue = await NetworkCatalogue.open(Manifests(storage))
        derived = [*tariff(catalogue.catalog), (ANY_MODEL, usual_price(), "any other model")]
        prices = await PriceList.open(storage, derived)
        stack.push_async_callback(prices.close)
        files, keeper = batch_room(storage, Folder(folder / "files"), keys, serving, file_limits)
        stack.push_async_callback(keeper.start().close)
        services = Services(
            files=files,
            batches=(batches := Batches(storage, keeper.wake)),
            uploads=uploads or UploadLimits(),
            engines=NoEngines(),
            serving=serving,
            members=Members(storage),
            keys=keys,
            key_limits=key_limits,
            limit_book=book,
            tokens=EnrolmentTokens(storage),
            claims=ExternalModels(storage),
            images=Images(storage),
            catalogue=catalogue,
            network=network,
            enrolment=Enrolment(
                authority, Nodes(storage), revoker, urls=nats_urls, min_agent=min_agent
            ),
            benchmarks=Benchmarks(storage),
            usage=StoredUsage(storage),
            invites=Invites(storage, limits=default_limits or LimitSettings()),
            audit=AuditLog(storage),
            audit_key=authority.audit_key.public,
            own_data=StoredData(storage, keys, book, files, batches),
            ledger=Ledger(storage),
            grants=Grants(storage, Ledger(storage), Rules()),
            prices=prices,
            rewards=RewardJobs(storage, Ledger(storage), Rules(), {}),
            proxied=Proxied(storage),
            metrics=metrics,
            limits=limits or BodyLimits(),
            default_limits=default_limits or LimitSettings(),
            cors_origins=cors_origins,
            ca=ca,
            ca_fingerprint=ca_fingerprint,
        )
        app = create_app(services)
        server, port = await stack.enter_async_context(
            served(app, grace_seconds, leaving=services.leaving)
        )
        stack.callback(serving.gate.set)
        kept = (storage, usage, admin, secret, user.id, keeper)
        yield Edge(server, port, services, serving, network, revoker, *kept)


@asynccontextmanager
async def served(
    app: App,
    grace_seconds: float = 1.0,
    *,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    leaving: Leaving | None = None,
) -> AsyncIterator[tuple[Server, int]]:
    """Serve an app, on a free port if none is given, until the block ends."""
    with closing(bind("127.0.0.1", port)) as listener:
        server = make_server(app, grace_seconds=grace_seconds, tls=tls, leaving=leaving)
        task = asyncio.create_task(server.serve([listener]))
        try:
            await asyncio.wait_for(server.listening.wait(), 20)
            yield server, listener.getsockname()[1]
        finally:
            server.stop()
            await asyncio.wait_for(task, 30)
