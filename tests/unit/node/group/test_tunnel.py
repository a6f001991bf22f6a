"""What a rig's end of the group's own network is called, and what is told to WireGuard."""

import pytest

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.messages import TunnelEnd
from garage_ai.node.group.tunnel import check_end, configuration, tunnel_of

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
