"""The gateway's process: everything is opened here, in order, and closed in reverse."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from garage_ai.accounts import (
    Benchmarks,
    EnrolmentTokens,
    ExternalModels,
    Images,
    Invites,
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
from garage_ai.audit.heads import HeadKeeper
from garage_ai.audit.remembered import HEAD_FILE
from garage_ai.audit.service import AuditLog
from garage_ai.audit.settings_log import note_settings
from garage_ai.gateway.app import create_app
from garage_ai.gateway.batch_worker import WorkPlace
from garage_ai.gateway.batching import Desk, open_batch, upload_limits
from garage_ai.gateway.body import BodyLimits
from garage_ai.gateway.books import AccountBooks, StoredUsage
from garage_ai.gateway.catalogue import NetworkCatalogue, follow, known_models
from garage_ai.gateway.certificate import keep_certificate
from garage_ai.gateway.counting import open_recount
from garage_ai.gateway.economy import Economy, open_economy
from garage_ai.gateway.kept_settings import kept_settings
from garage_ai.gateway.listening import bind, nats_tls, server_tls
from garage_ai.gateway.metrics import Metrics
from garage_ai.gateway.own_data import StoredData
from garage_ai.gateway.server import Server, make_server
from garage_ai.gateway.services import Services
from garage_ai.ledger import FigureJudge
from garage_ai.ledger.proxied import Proxied
from garage_ai.network import DispatchLimits, Names, Network, Terms
from garage_ai.network.attempt import Limits as AttemptLimits
from garage_ai.network.authority import DAY, Authority
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.network.enrolment import Enrolment
from garage_ai.network.salts import Salts
from garage_ai.serving import Service
from garage_ai.settings import GatewaySettings
from garage_ai.storage import LastSeen, Storage, sqlite_url
from garage_ai.wire.connection import Connection, Listeners
from garage_ai.wire.ids import new_gateway_id
from garage_ai.wire.link_errors import LinkError
from garage_ai.wire.secret_files import make_private_folder
from garage_ai.wire.trust import fingerprint_of
from garage_ai.wire.versions import agent_version

_log = structlog.get_logger(__name__)

GRACE_SECONDS: Final = 30.0
"""How long requests that run may go on after SIGTERM."""
LINK_SECONDS: Final = 2.0
"""How long the start waits for NATS; without it the gateway answers 503 and goes on trying."""

Ready = Callable[[int], None]
"""Told the port once requests are answered."""


@dataclass(frozen=True, slots=True)
class _Books:
    """What lives in the database, and who writes to it."""

    storage: Storage
    seen: LastSeen
    keys: KeyRing
    limit_book: LimitBook
    leases: Leases
    limits: Limits
    audit: AuditLog
    catalogue: NetworkCatalogue


async def serve(
    settings: GatewaySettings, on_ready: Ready | None = None, *, alone: bool = False
) -> None:
    """Run a gateway until SIGTERM or SIGINT; a second signal cuts what still runs short.

    SIGTERM lets who asks for readiness hear of it first, unless the gateway is `alone`: where
    nothing could be sent elsewhere, and for a SIGINT, its port is closed at once.
    Raises: StartError, StorageError, AuthorityError, AccountError, TrustError.
    """
    tls = server_tls(settings)
    with contextlib.closing(bind(settings.host, settings.port)) as listener:
        async with AsyncExitStack() as stack:
            services = await open_services(settings, stack)
            keep_certificate(tls, settings, services.metrics, stack)
            app = create_app(services)
            _calm_collector()
            server = make_server(
                app, grace_seconds=GRACE_SECONDS, tls=tls, leaving=services.leaving
            )
            port = listener.getsockname()[1]
            _log.info("gateway_starting", host=settings.host, port=port)
            announcing = asyncio.create_task(_announce(server, port, on_ready))
            try:
                with _signals(server, alone=alone):
                    await server.serve([listener])
            finally:
                announcing.cancel()
    _log.info("gateway_stopped")


def _calm_collector() -> None:
    """Let the garbage collector look less often, and never at what stays for the whole life.

    A request leaves no cycles behind; looking for them took a twelfth of its time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


async def open_services(settings: GatewaySettings, stack: AsyncExitStack) -> Services:
    """Open all that the edge stands on; `stack` closes it. Raises: as `serve`."""
    metrics = Metrics()
    books = await _open_books(settings, stack)
    authority = await asyncio.to_thread(
        Authority.open_or_create,
        settings.authority_dir or settings.data_dir / "nats",
        node_life=settings.node_jwt_days * DAY,
    )
    urls = _listed(settings.nats_urls)
    pusher = ClaimsPusher(authority, urls, nats_tls(urls, settings.tls_ca))
    ca = await asyncio.to_thread(settings.tls_ca.read_text) if settings.tls_ca else None
    nodes, claims = Nodes(books.storage), ExternalModels(books.storage)
    images = Images(books.storage)
    enrolment = Enrolment(
        authority,
        nodes,
        pusher,
        urls=_listed(settings.node_nats_urls or settings.nats_urls),
        ca_pem=ca,
        min_agent=agent_version(settings.min_agent or ""),
    )
    await enrolment.catch_up()
    stack.push_async_callback(pusher.start().close)
    link, network = _make_network(
        settings,
        authority,
        AccountBooks(nodes, claims, images, enrolment),
        books.seen,
        Names(known_models(books.catalogue.catalog)),
    )
    heads = HeadKeeper.start(books.audit, authority.audit_key, settings.data_dir / HEAD_FILE)
    stack.push_async_callback(heads.close)
    _watch(metrics, books, link, network, asyncio.get_running_loop())
    figures = FigureJudge()
    catalogue = books.catalogue
    economy = await open_economy(
        settings, books.storage, network, stack, metrics, figures=figures, catalogue=catalogue
    )
    _watch_audit(metrics, heads)
    recount = open_recount(settings, stack, metrics, network, figures, catalogue=catalogue)
    await _open_network(stack, link, network)
    follow(catalogue, network, stack)
    serving = Service(
        network,
        economy.usage,
        books.limits,
        economy.billing,
        observe=metrics.observe,
        recount=recount,
    )
    place = WorkPlace(books.storage, network, economy, books.limits, recount, metrics)
    desk = Desk(books.keys, serving, books.limits.check_expiry)
    batch = open_batch(settings, stack, desk, place)
    return Services(
        serving=serving,
        files=batch.files,
        batches=batch.batches,
        uploads=upload_limits(settings),
        engines=batch.engines,
        ledger=economy.ledger,
        members=Members(books.storage),
        keys=books.keys,
        key_limits=books.limits,
        limit_book=books.limit_book,
        default_limits=_default_limits(settings),
        tokens=EnrolmentTokens(books.storage),
        claims=claims,
        images=images,
        catalogue=catalogue,
        network=network,
        enrolment=enrolment,
        benchmarks=Benchmarks(books.storage),
        usage=StoredUsage(books.storage),
        invites=Invites(books.storage, limits=_default_limits(settings)),
        audit=books.audit,
        audit_key=heads.public_key,
        last_head=lambda: heads.last,
        own_data=StoredData(
            books.storage, books.keys, books.limit_book, batch.files, batch.batches
        ),
        grants=economy.grants,
        prices=economy.prices,
        rewards=economy.rewards,
        proxied=await _open_proxied(books.storage, economy, stack),
        figures=figures,
        metrics=metrics,
        limits=BodyLimits(size=settings.max_body),
        cors_origins=tuple(_listed(settings.cors_origins)),
        ca=ca,
        ca_fingerprint=fingerprint_of(ca) if ca else None,
    )


async def _open_proxied(storage: Storage, economy: Economy, stack: AsyncExitStack) -> Proxied:
    proxied = Proxied.start(storage, economy.ledger, before=economy.grants.give)
    stack.push_async_callback(proxied.close)
    return proxied


async def _open_books(settings: GatewaySettings, stack: AsyncExitStack) -> _Books:
    await asyncio.to_thread(make_private_folder, settings.data_dir)
    url = settings.database_url or sqlite_url(settings.data_dir / "garage.db")
    storage = await Storage.open(url)
    stack.push_async_callback(storage.close)
    seen = LastSeen.start(storage)
    stack.push_async_callback(seen.close)
    book = await LimitBook.open(storage)
    stack.push_async_callback(book.close)
    keys = await KeyRing.open(storage, on_use=seen.key, limits=book.refresh)
    stack.push_async_callback(keys.close)
    await keys.ensure_admin_key(settings.data_dir / "admin.key")
    leases = Leases(StoredPools(storage), new_gateway_id())
    leases.start()
    stack.push_async_callback(leases.close)
    limits = Limits(book, leases, fail=settings.limits_fail)
    audit = AuditLog(storage)
    await note_settings(audit, *kept_settings(settings))
    catalogue = await NetworkCatalogue.open(Manifests(storage))
    return _Books(storage, seen, keys, book, leases, limits, audit, catalogue)


def _make_network(
    settings: GatewaySettings,
    authority: Authority,
    books: AccountBooks,
    seen: LastSeen,
    names: Names,
) -> tuple[Connection, Network]:
    gateway, urls = new_gateway_id(), _listed(settings.nats_urls)
    link = Connection(
        urls,
        credentials=authority.gateway_credentials(gateway),
        name=f"gateway-{gateway}",
        tls=nats_tls(urls, settings.tls_ca),
        listeners=Listeners(
            on_connect=lambda _: network.ask_for_beats(),
            on_disconnect=lambda _: network.link_lost(),
        ),
    )
    network = Network(
        link,
        gateway,
        books=books,
        names=names,
        limits=_dispatch_limits(settings),
        terms=Terms(
            allow_unsandboxed=settings.allow_unsandboxed,
            min_agent=agent_version(settings.min_agent or ""),
        ),
        on_beat=lambda node: seen.node(node, datetime.now(UTC)),
        salts=Salts(authority.salt_key),
    )
    return link, network


async def _open_network(stack: AsyncExitStack, link: Connection, network: Network) -> None:
    link.start()
    stack.push_async_callback(link.close)
    with contextlib.suppress(LinkError):
        await link.wait_connected(LINK_SECONDS)
    stack.push_async_callback(network.close)
    await network.start()


def _default_limits(settings: GatewaySettings) -> LimitSettings:
    return LimitSettings(
        rpm=settings.default_rpm, tpm=settings.default_tpm, streams=settings.default_streams
    )


def _dispatch_limits(settings: GatewaySettings) -> DispatchLimits:
    return DispatchLimits(
        connect=settings.connect_seconds,
        attempt=AttemptLimits(
            accepted=settings.accepted_seconds,
            first_byte=settings.first_byte_seconds,
            silence=settings.silence_seconds,
            total=settings.total_seconds,
        ),
        queue_size=settings.queue_size,
        queue_seconds=settings.queue_seconds,
        retries=settings.retries,
        max_answer=settings.max_answer,
    )


def _watch(
    metrics: Metrics,
    books: _Books,
    link: Connection,
    network: Network,
    loop: asyncio.AbstractEventLoop,
) -> None:
    metrics.watch_nodes(network.census)
    metrics.name_all_of(network.registry.names.in_catalogue)
    metrics.gauge("gai_nats_connected", "1 while there is a link.", lambda: link.is_connected)
    waiting = "Requests that wait for a free node."
    metrics.gauge("gai_requests_waiting", waiting, lambda: network.dispatcher.placement.waiting)
    later = "Batch requests that wait for what chats leave over."
    placement = network.dispatcher.placement
    metrics.gauge("gai_batch_waiting", later, lambda: placement.batch_waiting)
    given = "Times that a batch request gave its slot to a chat, since the start."
    metrics.counter("gai_batch_preempted", given, lambda: network.dispatcher.preempted)
    failures = "Looks for changed keys that failed; known keys go on working."
    metrics.counter("gai_key_refresh_failures", failures, lambda: books.keys.failures)
    unasked = "Exchanges over limits with the database that failed."
    metrics.counter("gai_limit_failures", unasked, lambda: books.leases.failures)
    unchecked = "Requests let in without a check of their limits, as the database was away."
    metrics.counter("gai_limits_unchecked", unchecked, lambda: books.limits.unchecked)
    unlooked = "Looks for a changed catalogue that failed; known models go on being known."
    metrics.counter("gai_catalogue_failures", unlooked, lambda: books.catalogue.failures)
    reachable = "1 while the database can be read; requests with known keys go on without."
    metrics.gauge("gai_database_reachable", reachable, lambda: books.keys.reachable)
    tasks = "Tasks of the gateway's event loop."
    metrics.gauge("gai_event_loop_tasks", tasks, lambda: len(asyncio.all_tasks(loop)))


def _watch_audit(metrics: Metrics, heads: HeadKeeper) -> None:
    failures = "Times when the log of acts could not be signed."
    metrics.counter("gai_audit_head_failures", failures, lambda: heads.failures)


async def _announce(server: Server, port: int, on_ready: Ready | None) -> None:
    await server.listening.wait()
    _log.info("gateway_ready", port=port)
    if on_ready is not None:
        on_ready(port)


@contextlib.contextmanager
def _signals(server: Server, *, alone: bool) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def heard(number: signal.Signals) -> None:
        if server.is_ending:
            server.force_exit = True
            server.stop()
        elif alone or number == signal.SIGINT:
            server.stop()
        else:
            _log.info("gateway_leaving")
            server.leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


__all__ = ["open_services", "serve"]
