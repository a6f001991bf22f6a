"""From a node's folder to its part of a group."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.group.by_cards import by_cards
from garage_ai.node.group.engine import GroupEngine
from garage_ai.node.group.finding import check_installed
from garage_ai.node.group.folder import GroupChoice, group_of, secret_of
from garage_ai.node.group.lending import Lending, Look
from garage_ai.node.group.messages import Wished
from garage_ai.node.group.planning import evenly, gang_planner
from garage_ai.node.group.seat import Seat
from garage_ai.node.group.tunnel import Tunnel, TunnelKeeper, tunnel_of, tunnel_to_end
from garage_ai.node.group.tunnel_making import make, plan, unmake
from garage_ai.node.group.tunnel_unit import TunnelUnits, boots_here, unit_texts
from garage_ai.node.sandbox.containers import tag_of
from garage_ai.node.sandbox.launcher import ContainerLauncher


def check_fence(choice: Choice, launcher: Launcher | None) -> None:
    """Refuse what cannot be part of a gang. Raises: NotPossible."""
    if choice.engine != "vllm":
        raise NotPossible("A group runs vLLM: add --engine vllm, or leave with: gai group leave")
    if not isinstance(launcher, ContainerLauncher):
        return
    runtime = launcher.runtime
    if runtime.program != "podman" or runtime.rootless:
        raise NotPossible(
            "An engine in a group needs a network of its own, which Podman gives it only when the "
            "agent is root: run it as root, or, for development, with --sandbox none."
        )


def group_engine(
    folder: NodeFolder,
    group: GroupChoice,
    choice: Choice,
    options: VllmOptions,
    launcher: Launcher | None,
    *,
    look: Look,
) -> GroupEngine:
    """Make the engine of a node that is part of a group; `look` finds what it has by then.

    Raises: NotEnrolled, NotPossible, GroupError.
    """
    if group.find:
        check_installed()
    lent = options.lent
    node, secret = folder.load().node, secret_of(folder)
    wish = Wished(choice.context or 0, choice.slots or 0, choice.tensor_parallel or 0)
    seat = Seat(node, group, secret, _signer(folder), wish)
    divide = by_cards(lent.model) if lent else evenly
    return GroupEngine(
        seat,
        Lending(options, look if lent else None),
        gang_planner(options.digest, divide),
        TunnelKeeper(_tunnel(folder, group, fenced=isinstance(launcher, ContainerLauncher)), group),
        run=folder.run,
        logs=folder.logs,
        launcher=launcher,
    )


@dataclass(frozen=True, slots=True)
class SetUp:
    """A group's network on this PC; `unit` makes it at each start, None where none can."""

    interface: str
    unit: Path | None


def set_up_tunnel(folder: NodeFolder) -> SetUp | None:
    """Make this node's end of its group's network, as root; None without a group. Blocks.

    Raises: NotEnrolled, GroupError.
    """
    group = group_of(folder)
    if group is None:
        return None
    tunnel = _tunnel(folder, group, fenced=folder.load().choice.sandbox != "none")
    stat = folder.path.stat()
    owner, owners = stat.st_uid, stat.st_gid
    made = plan(tunnel, owner=owner, group=owners)
    if not boots_here():
        make(tunnel, made, owner=owner, group=owners)
        return SetUp(tunnel.interface, None)
    units = TunnelUnits(tunnel)
    units.remove()
    # What was made without a unit would stand in its way.
    unmake(tunnel)
    units.install(unit_texts(tunnel, made, owner=owner, group=owners))
    return SetUp(tunnel.interface, units.path)


def take_down_tunnel(folder: NodeFolder) -> bool:
    """Take this node's end away and what makes it at each start, and tell whether it is gone.

    It is not where there is one and this is not root. Blocks. Raises: NoTunnel.
    """
    tunnel = tunnel_to_end(tag_of(folder.path))
    units = TunnelUnits(tunnel)
    if os.geteuid() != 0:
        return not (units.installed or tunnel.is_made)
    units.remove()
    unmake(tunnel)
    return True


def _signer(folder: NodeFolder) -> Callable[[bytes], bytes]:
    """Sign with the key that the node has then: it may be replaced while a gang is at work."""
    return lambda text: folder.identity.load().sign(text)


def _tunnel(folder: NodeFolder, group: GroupChoice, *, fenced: bool) -> Tunnel:
    return tunnel_of(tag_of(folder.path), group, fenced=fenced)


__all__ = ["SetUp", "check_fence", "group_engine", "set_up_tunnel", "take_down_tunnel"]
