"""What a node keeps of its group, and how it gets to other PCs."""

import stat
from pathlib import Path

import pytest

from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import NodeFolder
from garage_ai.node.group import folder as group
from garage_ai.node.group.errors import BadSecret, NoGroup
from garage_ai.node.group.folder import HostPort


def test_an_invitation_makes_two_rigs_of_one_group(tmp_path: Path) -> None:
    """Both hold the same secret, which nobody else may read."""
    line = group.create("garage")
    one, other = NodeFolder(tmp_path / "one"), NodeFolder(tmp_path / "other")
    group.join(one, line, HostPort("192.0.2.1", 4244), ())
    group.join(other, group.invitation_of(one), HostPort("192.0.2.2", 4244), ())
    assert group.secret_of(one) == group.secret_of(other)
    assert len(group.secret_of(one)) == 32
    for name in (group.SECRET, group.GROUP):
        assert stat.S_IMODE((one.path / name).stat().st_mode) == 0o600
    assert "secret" not in (one.path / group.GROUP).read_text()


def test_a_groups_secret_is_not_replaced_by_anothers(tmp_path: Path) -> None:
    """The others would be locked out; the same invitation may come again with other addresses."""
    folder, here = NodeFolder(tmp_path), HostPort("192.0.2.1", 4244)
    line = group.create("garage")
    group.join(folder, line, here, ())
    for other in (group.create("garage"), group.create("cellar")):
        with pytest.raises(NotPossible, match=r"group garage already.*gai group leave"):
            group.join(folder, other, here, ())
    assert group.invitation_of(folder) == line
    group.join(folder, line, here, (HostPort("192.0.2.2", 4244),))
    group.leave(folder)
    group.join(folder, group.create("cellar"), here, ())


def test_a_group_is_left(tmp_path: Path) -> None:
    """Nothing of it stays."""
    folder = NodeFolder(tmp_path)
    group.join(folder, group.create("garage"), HostPort("192.0.2.1", 4244), ())
    group.leave(folder)
    assert group.group_of(folder) is None
    with pytest.raises(NoGroup):
        group.secret_of(folder)


def test_what_is_chosen_is_kept(tmp_path: Path) -> None:
    """Where it listens, and where the others are."""
    folder = NodeFolder(tmp_path)
    peers = (group.address("192.0.2.2"), group.address("192.0.2.3:5000"))
    group.join(folder, group.create("garage"), group.address("192.0.2.1"), peers)
    found = group.group_of(folder)
    assert found is not None
    assert found.listen == ("192.0.2.1", group.PORT)
    assert found.peers == (("192.0.2.2", group.PORT), ("192.0.2.3", 5000))


@pytest.mark.parametrize("line", ["", "gai-group.garage", "gai-group.garage.c2hvcnQ", "x.y.z"])
def test_what_is_no_invitation(line: str) -> None:
    """It is refused, and not repeated."""
    with pytest.raises(BadSecret) as told:
        group.read_invitation(line)
    assert not line or line not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "garage", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.1:x", "::1", "1.2.3"),
        *("0.0.0.0:4244", "127.0.0.1", "127.0.1.1:4244", "224.0.0.251", "192.0.2.1:65535"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Names and IPv6, what no other PC could reach, and a port with none after it."""
    with pytest.raises(NotPossible):
        group.address(text)


@pytest.mark.parametrize("name", ["", "a b", "å", "x" * 41])
def test_what_is_no_name(name: str) -> None:
    """Nothing that a line or a file could not hold."""
    with pytest.raises(NotPossible):
        group.create(name)
