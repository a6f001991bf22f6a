"""A whole network in one place: its processes started in order, kept, and stopped in order."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Final, Protocol

from garage_ai.catalog import CHAT_ALIAS, DEFAULT_MODEL
from garage_ai.local import leftovers, whereabouts
from garage_ai.local.errors import LocalError, Unfit
from garage_ai.local.events import (
    Leaving,
    Left,
    LeftoversEnded,
    Ready,
    StandsBack,
    StepBegun,
    StepDone,
    StepName,
    UpEvent,
)
from garage_ai.local.folders import Folders
from garage_ai.local.nats_server import NatsServer, NatsServerError
from garage_ai.local.own_node import NAME, OwnNode
from garage_ai.local.places import Place, UpOptions, check_options, gateway_environment
from garage_ai.local.preparation import prepare, settle
from garage_ai.local.processes import UpRecord, own_mark
from garage_ai.local.renewal import Renewal
from garage_ai.local.supervision import Policy
from garage_ai.local.supervisor import Change, Plan, Supervisor
from garage_ai.network.authority_errors import AuthorityError

DRAIN_SECONDS: Final = 30.0
_AFTER_NODE: Final = 5.0
"""Of a drain, what the gateway and NATS have once the node is gone."""

_AT_LEAST: Final = 1.0
_FAILED_START: Final = 7.0
_NATS_START: Final = 30.0
_GATEWAY_START: Final = 120.0
_NODE_START: Final = 300.0
_POLL: Final = 0.05
_LOOK: Final = 1.0
_HUNG_AFTER: Final = 12
"""Looks in vain, each of up to 5 s and 5 s apart: a minute at least, which no load explains."""

_SAME_WISH: Final = 0.2
"""Signals this close are one wish: timeout(1) sends its SIGTERM to its child and to the group."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GatewayApi(Protocol):
    """The gateway's API with the admin key; each call blocks for a few seconds at most.

    Raises: OSError while the gateway cannot be reached or does not accept the key.
    """

    def models(self) -> frozenset[str]:
        """Give the names of the models being served."""

    def node_token(self) -> str:
        """Make an enrolment token, one use."""


Reach = Callable[[Place, Path], GatewayApi]
"""Makes the API from the place and the file that will hold the admin key."""


class LocalNetwork:
    """One `gai up`: run it once. `began` is when its owner asked, by the monotonic clock."""

    def __init__(
        self,
        options: UpOptions,
        reach: Reach,
        tell: Callable[[UpEvent], None],
        began: float | None = None,
    ) -> None:
        self._options: Final = options
        self._folders: Final = Folders(options.data_dir)
        self._reach = reach
        self._tell = tell
        self._stop = asyncio.Event()
        self._asked_at = 0.0
        self._began = time.monotonic() if began is None else began
        self._claim: leftovers.Claim | None = None
        self._nats: Supervisor | None = None
        self._gateway: Supervisor | None = None
        self._node: Supervisor | None = None
        self._own_node: OwnNode | None = None
        self._renewal: Renewal | None = None

    async def run(self) -> None:
        """Bring the network up, keep it until a signal comes, and take it down.

        A second wish to stop ends this process with 130, and the kernel the children with it.
        Raises: LocalError when it cannot be brought up.
        """
        check_options(self._options)
        loop = asyncio.get_running_loop()
        # `nohup gai up` means what it says.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signals = _SIGNALS[:2] if ignored else _SIGNALS
        for number in signals:
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._until_stopped(self._bring_up())
            await self._until_stopped(self._watch())
            self._tell(Leaving(DRAIN_SECONDS))
            await self._take_down(DRAIN_SECONDS)
            self._tell(Left())
        finally:
            await self._take_down(_FAILED_START)
            self._give_back()
            for number in signals:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        now = time.monotonic()
        if not self._stop.is_set():
            self._asked_at = now
            self._stop.set()
        elif now - self._asked_at > _SAME_WISH:
            # Asked twice: no more patience. What is killed with us is known to cope with it.
            os._exit(130)

    async def _until_stopped(self, doing: Coroutine[None, None, None]) -> None:
        """Do something until it is done or a signal comes."""
        work = asyncio.ensure_future(doing)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, stopping):
                task.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)

    async def _watch(self) -> None:
        """Stay until one of the supervisors ends, which none does by itself."""
        parts = [part for part in (self._nats, self._gateway, self._node) if part is not None]
        await asyncio.gather(self._renew(), *(part.wait_stopped() for part in parts))

    async def _renew(self) -> None:
        """Keep the certificate good for as long as the network runs."""
        if self._renewal is not None:
            await self._renewal.look_daily()

    async def _bring_up(self) -> None:
        self._tell(StepBegun("keys"))
        await asyncio.to_thread(prepare, self._folders)
        try:
            place, server = await self._take_place()
        except OSError as error:
            raise Unfit(f"{error.filename or self._folders.data}: {error.strerror}") from error
        self._done("keys")
        await self._start_parts(place, server, self._reach(place, self._folders.admin_key))

    async def _take_place(self) -> tuple[Place, NatsServer]:
        """Make the folder ours, and settle where we listen. Raises: LocalError, OSError."""
        self._claim = await leftovers.claim(self._folders)
        ended = await leftovers.end_leftovers(self._folders)
        if ended:
            self._tell(LeftoversEnded(tuple(record.name for record in ended)))
        place, server = await asyncio.to_thread(settle, self._options, self._folders)
        whereabouts.announce(self._folders, self._record(place))
        return place, server

    async def _start_parts(self, place: Place, server: NatsServer, api: GatewayApi) -> None:
        self._nats = self._supervise(_nats_plan(server))
        if place.certificates is not None:
            self._renewal = Renewal(
                place.certificates, self._folders.tls, place.name, self._nats.tell_to_read_again
            )
        self._gateway = self._supervise(self._gateway_plan(place, api))
        if self._options.node:
            self._own_node = OwnNode(self._folders, place, DEFAULT_MODEL, api.node_token)
            self._node = self._supervise(self._node_plan(self._own_node, api))
        # All at once: none waits for another, each comes back to those that are there.
        self._tell(StepBegun("nats"))
        self._nats.start()
        self._gateway.start()
        if self._node is not None and self._is_enrolled():
            self._node.start()
        await self._nats.wait_ready(_NATS_START)
        self._done("nats")
        self._tell(StepBegun("gateway"))
        await self._gateway.wait_ready(_GATEWAY_START)
        self._done("gateway")
        if self._node is not None and self._own_node is not None:
            await self._wait_for_node(self._node)
            await self._until_served(self._own_node, api)
        self._tell_ready(place)

    async def _wait_for_node(self, node: Supervisor) -> None:
        self._tell(StepBegun("node"))
        if node.state == "stopped":
            node.start()
        serving = asyncio.ensure_future(node.wait_ready(_NODE_START))
        try:
            while not serving.done() and not self._is_enrolled():
                await asyncio.wait((serving,), timeout=_POLL)
            if not serving.done():
                self._done("node")
                self._tell(StepBegun("model"))
            await serving
        finally:
            serving.cancel()

    async def _until_served(self, own: OwnNode, api: GatewayApi) -> None:
        """Wait until there is a model: while the PC's owner comes first that is no failure."""
        told = False
        while not await _serves(api):
            reason = await asyncio.to_thread(own.stands_back)
            if reason is not None and not told:
                self._tell(StandsBack(reason))
                told = True
            await asyncio.sleep(_LOOK)
        self._done("model")

    def _tell_ready(self, place: Place) -> None:
        key = self._folders.admin_key.read_text(encoding="ascii").strip()
        model = CHAT_ALIAS if self._options.node else None
        ca = place.certificates.ca if place.certificates else None
        self._tell(Ready(place.url, key, model, ca, self._elapsed()))

    async def _take_down(self, limit: float) -> None:
        """End the children: those who take work first, what carries their answers last."""
        if self._claim is not None:
            # Without the claim the record is another's, whose clients would not find it any more.
            whereabouts.withdraw(self._folders)
        deadline = time.monotonic() + limit

        def left(reserve: float) -> float:
            return max(_AT_LEAST, deadline - time.monotonic() - reserve)

        if self._node is not None:
            await self._node.stop(left(_AFTER_NODE))
        if self._gateway is not None:
            await self._gateway.stop(left(_AT_LEAST))
        if self._nats is not None:
            await self._nats.stop(_AT_LEAST)

    def _give_back(self) -> None:
        if self._claim is not None:
            self._claim.release()

    # --- plans

    def _supervise(self, plan: Plan) -> Supervisor:
        return Supervisor(plan, self._folders, self._changed)

    def _changed(self, change: Change) -> None:
        if self._own_node is not None:
            self._own_node.heed(change)
        self._tell(change)

    def _is_enrolled(self) -> bool:
        return self._own_node is not None and self._own_node.is_enrolled

    def _gateway_plan(self, place: Place, api: GatewayApi) -> Plan:
        environment = gateway_environment(
            os.environ, self._folders, place, insecure=self._options.insecure
        )

        async def argv() -> Sequence[str]:
            return [sys.executable, "-P", "-m", "garage_ai.gateway", "--alone"]

        async def ready() -> bool:
            await asyncio.to_thread(api.models)
            return True

        policy = Policy(start_limit=_GATEWAY_START, hung_after=_HUNG_AFTER)
        return Plan("gateway", argv, ready, environment, policy)

    def _node_plan(self, own: OwnNode, api: GatewayApi) -> Plan:
        async def ready() -> bool:
            # One that stands back does what its owner wants: it is no start that failed.
            return await _serves(api) or await asyncio.to_thread(own.stands_back) is not None

        return Plan(NAME, own.argv, ready, own.environment, Policy(start_limit=_NODE_START))

    # --- words

    def _record(self, place: Place) -> UpRecord:
        ca = place.certificates.ca if place.certificates else None
        host, port = place.address
        return UpRecord(
            process=own_mark(),
            url=place.url,
            host=host,
            port=port,
            data_dir=str(self._folders.data),
            ca=str(ca) if ca else None,
            started_at=time.time(),
        )

    def _done(self, name: StepName) -> None:
        self._tell(StepDone(name, self._elapsed()))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


async def _serves(api: GatewayApi) -> bool:
    try:
        return CHAT_ALIAS in await asyncio.to_thread(api.models)
    except OSError:
        return False


def _nats_plan(server: NatsServer) -> Plan:
    async def argv() -> Sequence[str]:
        try:
            await asyncio.to_thread(server.prepare)
            return server.argv()
        except (NatsServerError, AuthorityError) as error:
            raise Unfit(str(error)) from error

    async def ready() -> bool:
        try:
            await server.wait_ready(1.0)
        except NatsServerError as error:
            raise LocalError(str(error)) from error
        return True

    policy = Policy(start_limit=_NATS_START, hung_after=_HUNG_AFTER)
    return Plan("nats", argv, ready, dict(os.environ), policy, server.log_file)


__all__ = ["DRAIN_SECONDS", "GatewayApi", "LocalNetwork", "Reach"]
