"""How `gai up` starts its own node."""

from pathlib import Path

import pytest

from garage_ai.local.folders import Folders
from garage_ai.local.own_node import OwnNode
from garage_ai.local.places import Place
from garage_ai.node.folder import TOKEN_VARIABLE, NodeFolder, Record
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio


async def test_its_token_is_on_no_command_line(tmp_path: Path) -> None:
    """All users of a PC can read those; once it has an identity, no token goes along at all."""
    folders = Folders(tmp_path)
    own = OwnNode(folders, Place("127.0.0.1", 1, 2, "127.0.0.1", None), "m", lambda: "gaij_secret")
    assert TOKEN_VARIABLE not in own.environment
    argv = await own.argv()
    assert "join" in argv
    assert not any("gaij_secret" in word for word in argv)
    assert own.environment[TOKEN_VARIABLE] == "gaij_secret"
    folder = NodeFolder(folders.node)
    folder.save(
        Record(
            node=NodeId("nod_1"), member="mbr_1", name="a", region="se", gateway="http://a", urls=()
        )
    )
    assert "run" in await own.argv()
    assert TOKEN_VARIABLE not in own.environment
