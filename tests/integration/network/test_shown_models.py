"""Which models are shown to whom: none that only others may use, and the alias to who has it."""

import pytest
from tests.integration.network.conftest import MakeNode, until
from tests.parts.scripted_node import ScriptedNode

from garage_ai.network.network import Network
from garage_ai.storage import OPERATOR
from garage_ai.wire.messages import Share

pytestmark = pytest.mark.anyio


async def share(network: Network, node: ScriptedNode, whom: Share) -> None:
    """Lend a node to fewer, and wait until the network has heard."""
    node.share = whom
    await node.beat()
    await until(lambda: network.registry.nodes[node.id].share == whom)


def shown(network: Network, member: str | None) -> dict[str, int]:
    """Tell which models a member is shown, and how many nodes of each."""
    return {view.name: view.nodes for view in network.models(None, member)}


async def test_what_a_node_does_not_serve_one_with_is_not_shown(
    network: Network, make_node: MakeNode
) -> None:
    """Nor counted, nor what the alias stands for; without a member all of it is shown."""
    own, members = await make_node("n0"), await make_node("n1")
    assert shown(network, OPERATOR) == {"garage-chat": 2, "small": 2}
    await share(network, own, "own")
    await share(network, members, "members")
    assert shown(network, "mbr_n0") == {"garage-chat": 2, "small": 2}
    assert shown(network, "mbr_x") == {"garage-chat": 1, "small": 1}
    assert shown(network, OPERATOR) == {}
    assert shown(network, None)["small"] == 2


async def test_the_alias_is_shown_to_who_is_given_it(network: Network, make_node: MakeNode) -> None:
    """A key that names the alias itself may use it, and need not know what it stands for."""
    await make_node()
    [alias] = network.models({"garage-chat"}, "mbr_x")
    assert (alias.name, alias.alias_of, alias.nodes) == ("garage-chat", "small", 1)
    assert [view.name for view in network.models({"small"}, "mbr_x")] == ["garage-chat", "small"]
    assert network.models({"other"}, "mbr_x") == []
