"""Serve from a node's folder until told to stop: where a node's process begins."""

from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.port import Engine
from garage_ai.node.errors import NotEnrolled
from garage_ai.node.events import Begun, Computes, Done, Exposed, Fetching
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.node.network_models import learn
from garage_ai.node.records import record_with, tls_for
from garage_ai.node.session import NodeSession, Tell
from garage_ai.node.setup import make_engine, make_launcher
from garage_ai.node.signals import Signals
from garage_ai.node.waiting import Waiting, unless
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.trust import TrustError


async def serve(folder: NodeFolder, choice: Choice | None, gateway: str | None, tell: Tell) -> bool:
    """Serve until SIGTERM; `choice` and `gateway` None are as at the last time.

    True if the owner wants it to start anew, perhaps in another version.

    Raises: NodeError.
    """
    signals = Signals()
    signals.install()
    with folder.lock():
        folder.prepare()
        record = _record(folder, choice, gateway)
        waiting = Waiting(folder, record, tell)
        engine = await unless(signals.stop, _engine(record, folder, tell, waiting))
        if engine is None:
            return waiting.restart_asked and not signals.stop.is_set()
        try:
            session = NodeSession(folder, record, engine, tell)
        except (IdentityError, TrustError) as error:
            raise NotEnrolled("{error}", error=error) from error
        await session.run(signals)
        return session.restart_asked and not signals.stop.is_set()


async def prepare(folder: NodeFolder, tell: Tell) -> None:
    """Bring here what the node needs to serve, the image and the model, without serving.

    Raises: NodeError.
    """
    with folder.lock():
        folder.prepare()
        record = folder.load()
        await _made(record, folder, tell, await prepare_launcher(record, folder, tell))


def _record(folder: NodeFolder, choice: Choice | None, gateway: str | None) -> Record:
    """Read who the node is, and keep what is new about how it is run. Raises: NotEnrolled."""
    record = folder.load()
    changed = record_with(record, choice=choice, gateway=gateway)
    if changed != record:
        folder.save(changed)
    return changed


async def _engine(
    record: Record, folder: NodeFolder, tell: Tell, waiting: Waiting
) -> Engine | None:
    launcher = await prepare_launcher(record, folder, tell)
    return await waiting.engine(lambda: _made(record, folder, tell, launcher))


async def _made(
    record: Record, folder: NodeFolder, tell: Tell, launcher: Launcher | None
) -> Engine:
    await _learn(record, folder, tell)
    tell(Begun("model", ", ".join(record.choice.models)))
    engine = await make_engine(
        record.choice, record.member, folder, lambda progress: tell(Fetching(progress)), launcher
    )
    tell(Done("model", ", ".join(offer.name for offer in engine.offers)))
    if engine.device is not None:
        tell(Computes(engine.device))
    return engine


async def _learn(record: Record, folder: NodeFolder, tell: Tell) -> None:
    """Know the model; what a join has kept needs no gateway, another may be chosen since."""
    try:
        tls = tls_for(record)
    except TrustError as error:
        raise NotEnrolled("{error}", error=error) from error
    async with GatewayClient(record.gateway, tls=tls) as client:
        await learn(record.choice, folder.path, client, tell)


async def prepare_launcher(record: Record, folder: NodeFolder, tell: Tell) -> Launcher | None:
    """Prepare the sandbox, and say so where there is none or it is not whole."""
    if record.choice.engine == "external":
        return None
    tell(Begun("sandbox", record.choice.sandbox))
    launcher = await make_launcher(
        record.choice, folder, record.node, lambda name: tell(Begun("image", name))
    )
    tell(Done("sandbox", launcher.fence.kind))
    if launcher.fence.kind == "none":
        tell(Exposed("unsandboxed"))
    elif not launcher.fence.limits:
        tell(Exposed("unlimited"))
    return launcher


__all__ = ["prepare", "prepare_launcher", "serve"]
