"""What root does for a group's own network, command by command and unit by unit."""

from pathlib import Path

import pytest

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.tunnel import Tunnel
from garage_ai.node.group.tunnel_making import Making, making, plan
from garage_ai.node.group.tunnel_unit import unit_texts

FENCED = Tunnel("gai01234567", "10.213.1.20", "gai-01234567")
BARE = Tunnel("gai01234567", "10.213.1.20")
SERVICE = """\
# Made by `gai node doctor --fix`, which writes it anew; removed by `gai group leave`, both as root.
[Unit]
Description=Garage AI: the network of a rig group

[Service]
Type=exec
Sockets=garage-ai-group-01234567.socket
Environment=WG_UAPI_FD=3
ExecStartPre=ip netns add gai-01234567
ExecStartPre=install -d --mode=0755 /run/wireguard
ExecStart=setpriv --reuid=1000 --regid=1001 --clear-groups --inh-caps=+net_admin \
--ambient-caps=+net_admin wireguard-go --foreground gai01234567
ExecStartPost=wg show gai01234567
ExecStartPost=ip link set gai01234567 netns gai-01234567
ExecStartPost=ip -n gai-01234567 link set lo up
ExecStartPost=ip -n gai-01234567 addr add 10.213.1.20/16 dev gai01234567
ExecStartPost=ip -n gai-01234567 link set gai01234567 mtu 1420 up
Restart=always
RestartSec=5
ExecStopPost=-ip -n gai-01234567 link del gai01234567
ExecStopPost=-ip link del gai01234567
ExecStopPost=-ip netns del gai-01234567
TimeoutStartSec=60

[Install]
WantedBy=multi-user.target
"""
SOCKET = """\
# Made by `gai node doctor --fix`, which writes it anew; removed by `gai group leave`, both as root.
[Unit]
Description=Garage AI: who may speak to the network of a rig group

[Socket]
ListenStream=/run/wireguard/gai01234567.sock
SocketUser=1000
SocketGroup=1001
SocketMode=0600
RemoveOnStop=yes
"""
KERNEL = """\
# Made by `gai node doctor --fix`, which writes it anew; removed by `gai group leave`, both as root.
[Unit]
Description=Garage AI: the network of a rig group

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link add gai01234567 type wireguard
ExecStart=ip addr add 10.213.1.20/16 dev gai01234567
ExecStart=ip link set gai01234567 mtu 1420 up
ExecStopPost=-ip link del gai01234567
TimeoutStartSec=60

[Install]
WantedBy=multi-user.target
"""


def test_an_end_of_the_owners() -> None:
    """Made outside, where its packets leave, moved to where nothing else is, at every start."""
    made = making(FENCED, kernel=False, owner=1000, group=1001)
    assert unit_texts(FENCED, made, owner=1000, group=1001) == {
        "garage-ai-group-01234567.service": SERVICE,
        "garage-ai-group-01234567.socket": SOCKET,
    }


def test_an_end_of_the_kernels() -> None:
    """Where it has WireGuard, no program is needed."""
    made = making(BARE, kernel=True, owner=0, group=0)
    assert made.program == ()
    assert unit_texts(BARE, made, owner=0, group=0) == {"garage-ai-group-01234567.service": KERNEL}


def test_roots_own_program_is_run_as_it_is() -> None:
    """Nobody's rights are taken from it."""
    made = making(BARE, kernel=False, owner=0, group=0)
    assert made == Making(
        before=(("install", "-d", "--mode=0755", "/run/wireguard"),),
        program=("wireguard-go", "--foreground", "gai01234567"),
        after=(
            ("wg", "show", "gai01234567"),
            ("ip", "addr", "add", "10.213.1.20/16", "dev", "gai01234567"),
            ("ip", "link", "set", "gai01234567", "mtu", "1420", "up"),
        ),
    )


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made, and before a unit is left that fails at each start."""
    for name in ("install", "ip", "setpriv"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoTunnel, match="not installed here: wg, wireguard-go"):
        plan(FENCED, owner=1000, group=1000)
