import time
from pathlib import Path

import pytest

from garage_ai.local import leftovers, whereabouts
from garage_ai.local.errors import AlreadyUp
from garage_ai.local.folders import Folders
from garage_ai.local.places import Place, UpOptions
from garage_ai.local.processes import UpRecord, own_mark
from garage_ai.local.up import GatewayApi, LocalNetwork

pytestmark = pytest.mark.anyio


def no_api(_place: Place, _key: Path) -> GatewayApi:
    raise AssertionError("a start that is refused reaches no gateway")


async def test_a_refused_start_leaves_the_running_network_findable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second `gai up` of a folder ends with AlreadyUp; commands still find the first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folders = Folders(tmp_path / "data")
    folders.run.mkdir(parents=True)
    held = await leftovers.claim(folders)
    running = UpRecord(
        process=own_mark(),
        url="http://127.0.0.1:1",
        host="127.0.0.1",
        port=1,
        data_dir=str(folders.data),
        ca=None,
        started_at=time.time(),
    )
    whereabouts.announce(folders, running)
    told: list[object] = []
    try:
        with pytest.raises(AlreadyUp):
            await LocalNetwork(UpOptions(folders.data), no_api, told.append).run()
        assert whereabouts.find(folders.data) == running
        assert whereabouts.find_any(tmp_path / "elsewhere") == running
    finally:
        held.release()
