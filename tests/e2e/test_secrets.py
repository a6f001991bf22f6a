"""What must be written nowhere: prompts, answers, keys and tokens."""

import secrets
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeLent
from tests.parts.lent_engine import MODEL, Lent, Node
from tests.parts.live_folder import contents

pytestmark = pytest.mark.slow


def holders(word: str, *folders: Path) -> list[str]:
    """Name the files in which a word stands."""
    return [path.name for path, data in contents(*folders) if word.encode() in data]


def test_prompts_stand_in_no_file_however_the_request_ends(own: Lent) -> None:
    """Not in logs, not in the database, neither at the network nor at the volunteer's."""
    word = secrets.token_hex(12)
    assert own.http.chat(MODEL, word).status == 200
    for fault in ({"fail_every": 1}, {"bad_json": True}, {"cut_after": 0}):
        own.engine.set(**fault)
        assert own.http.chat(MODEL, word).status == 502
        own.engine.reset()
        assert own.http.chat(MODEL, word).status == 200
    own.engine.set(chunk_delay=0.01, chunks=1000)
    with own.http.stream(MODEL, word) as stream:
        stream.content()
    refused = own.http.ask(
        "POST", "/v1/chat/completions", {"model": MODEL, "messages": word, word: 1}
    )
    assert refused.status == 400
    assert word in own.engine.last()["body"]
    assert holders(word, own.product.data, own.node.folder) == []


def test_keys_and_tokens_are_kept_as_hashes(make_lent: MakeLent, tmp_path: Path) -> None:
    """Only the operator's own key stands in a file, in one."""
    lent = make_lent()
    key, token = lent.product.new_key()["key"], lent.product.token()
    assert lent.http.with_key(key).chat(MODEL).status == 200
    assert lent.http.with_key(key + "x").chat(MODEL).status == 401
    joined = Node(tmp_path / "joined", lent.product, lent.engine)
    joined.join(token)
    try:
        joined.serving()
        folders = (lent.product.folder, lent.node.folder, joined.folder)
        assert holders(key, *folders) == []
        assert holders(token, *folders) == []
        own = [name for name in holders(lent.product.key, *folders) if name != "gai-up.log"]
        assert own == ["admin.key"]  # besides the line of `gai up` that shows it
        assert (lent.product.data / "admin.key").stat().st_mode & 0o777 == 0o600
    finally:
        joined.stop()
        lent.http.ask("DELETE", f"/api/v1/nodes/{joined.id}")


def test_a_nodes_key_is_its_owners_alone(own: Lent) -> None:
    """The seed is readable by its owner only, and the network never has it."""
    seed = (own.node.data / "node.nk").read_text("ascii").strip()
    assert (own.node.data / "node.nk").stat().st_mode & 0o777 == 0o600
    assert own.node.data.stat().st_mode & 0o777 == 0o700
    assert holders(seed, own.product.data) == []
