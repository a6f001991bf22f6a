"""The commands that make a group's own network, and what is told to WireGuard."""

import pytest

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.messages import TunnelEnd
from garage_ai.node.group.tunnel import Tunnel, check_end, configuration, making, tunnel_of

KEY = "A" * 43 + "="
PEER = TunnelEnd(KEY, "192.168.1.21", 4245, "10.213.1.21")


@pytest.mark.parametrize("fenced", [False, True])
def test_an_end_is_named_by_its_folder_and_placed_by_its_address(fenced: bool) -> None:
    """Rigs agree on addresses without asking each other."""
    choice = GroupChoice("garage", HostPort("192.168.1.20", 4244))
    found = tunnel_of("0123456789abcdef", choice, fenced=fenced)
    assert (found.interface, found.address) == ("gai01234567", "10.213.1.20")
    assert found.namespace == ("gai-01234567" if fenced else None)
    assert len(found.interface) <= 15


def test_an_end_in_a_namespace() -> None:
    """It is made outside, where its packets leave, and moved to where nothing else is."""
    tunnel = Tunnel("gai01234567", "10.213.1.20", "gai-01234567")
    # The folder stays root's, and nobody may take away another's socket.
    owner = "setpriv --reuid=1000 --regid=1001 --clear-groups --inh-caps=+net_admin"
    assert [" ".join(argv) for argv in making(tunnel, kernel=False, owner=1000, group=1001)] == [
        "ip netns add gai-01234567",
        "install -d --owner=0 --group=1001 --mode=1770 /var/run/wireguard",
        f"{owner} --ambient-caps=+net_admin wireguard-go gai01234567",
        "ip link set gai01234567 netns gai-01234567",
        "ip -n gai-01234567 link set lo up",
        "ip -n gai-01234567 addr add 10.213.1.20/16 dev gai01234567",
        "ip -n gai-01234567 link set gai01234567 mtu 1420 up",
    ]


def test_an_end_of_the_kernels() -> None:
    """Where it has WireGuard, no program is needed."""
    tunnel = Tunnel("gai01234567", "10.213.1.20")
    assert [" ".join(argv) for argv in making(tunnel, kernel=True, owner=0, group=0)] == [
        "ip link add gai01234567 type wireguard",
        "ip addr add 10.213.1.20/16 dev gai01234567",
        "ip link set gai01234567 mtu 1420 up",
    ]


def test_only_the_ranks_are_reached() -> None:
    """Each by its own address, and nothing beside."""
    assert configuration("PRIVATE", 4245, [PEER]) == (
        "[Interface]\nPrivateKey = PRIVATE\nListenPort = 4245\n"
        f"[Peer]\nPublicKey = {KEY}\nEndpoint = 192.168.1.21:4245\n"
        "AllowedIPs = 10.213.1.21/32\nPersistentKeepalive = 25\n"
    )


@pytest.mark.parametrize(
    "end",
    [
        TunnelEnd(KEY, "192.168.1.21", 4245, "192.168.1.21"),
        TunnelEnd(KEY, "garage\nAllowedIPs = 0.0.0.0/0", 4245, "10.213.1.21"),
        TunnelEnd("A" * 20 + "\n" + "A" * 23, "192.168.1.21", 4245, "10.213.1.21"),
        TunnelEnd(KEY, "192.168.1.21", 4245, "0.0.0.0/0"),
    ],
)
def test_what_another_rig_says_is_checked(end: TunnelEnd) -> None:
    """It would else write the configuration."""
    with pytest.raises(NoTunnel):
        check_end(end)
    check_end(PEER)
