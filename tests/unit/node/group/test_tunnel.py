"""What a rig's end of the group's own network is called, and what is told to WireGuard."""

import os
from pathlib import Path

import pytest

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.messages import TunnelEnd
from garage_ai.node.group.tunnel import TunnelKeeper, check_end, configuration, tunnel_of

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


IP = """#!/bin/sh
case "$*" in
  "netns exec "*) exit 0 ;;
  "{space}-j addr show dev gai01234567")
    echo '[{{"ifname":"gai01234567","addr_info":[{{"family":"inet","local":"10.213.1.20"}}]}}]' ;;
  *) echo "Device does not exist." >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize("fenced", [False, True])
@pytest.mark.anyio
async def test_an_end_made_for_what_was_chosen_before_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    """For another address, or in another namespace, it leads nowhere; root can tell."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, text in (
        ("ip", IP.format(space="-n gai-01234567 " if fenced else "")),
        ("wg", "#!/bin/sh\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    async def is_there(host: str, *, fenced: bool) -> bool:
        choice = GroupChoice("garage", HostPort(host, 4244))
        return await TunnelKeeper(
            tunnel_of("0123456789abcdef", choice, fenced=fenced), choice
        ).is_there()

    assert await is_there("192.168.1.20", fenced=fenced)
    assert not await is_there("192.168.1.21", fenced=fenced)
    assert not await is_there("192.168.1.20", fenced=not fenced)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert await is_there("192.168.1.21", fenced=True)
