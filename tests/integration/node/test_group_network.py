"""A group's own network between two PCs: encrypted, and a way to the other ranks alone.

That a container of the engine's has no other is in `tests/e2e/test_group_container.py`.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.parts.group_ends import LISTEN, End, listening, network, two_ends
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(params=[0, 65_534], ids=["root", "owner"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[End, End]]:
    """Two PCs on one LAN whose agents have let each other be reached."""
    with two_ends(request.param) as made:
        yield made


def test_a_rank_reaches_the_other_ranks_and_nobody_else(ends: tuple[End, End]) -> None:
    """Neither its own PC, nor the LAN, nor an address of the group's network that is no rank."""
    one, other = ends
    with ExitStack() as stack:
        for inside, address in (
            (other.inside, other.tunnel.address),
            (network(other.host.name), other.host.address),
            (network(one.host.name), one.host.address),
        ):
            stack.enter_context(listening(*inside, sys.executable, "-c", LISTEN, address))
        eventually("the tunnel", lambda: one.dial(other.tunnel.address) == "reached\n", 30)
        for address in (other.host.address, one.host.address, one.host.public):
            assert "unreachable" in one.dial(address)
        assert "reached" not in one.dial("10.213.0.99")
        seen = subprocess.run(
            [*one.inside, "ip", "-br", "link"], capture_output=True, text=True, check=True
        )
        names = {line.split()[0] for line in seen.stdout.splitlines()}
        assert names == {"lo", one.tunnel.interface}
        other.admit()  # its gang has ended
        assert "reached" not in one.dial(other.tunnel.address)
