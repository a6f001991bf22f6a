"""Which gateway and which key a command means."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from garage_ai.cli.errors import Misused, Refused, Unreachable
from garage_ai.cli.target import find_target, folder_named, kept_ca, target_at, untrusted_advice
from garage_ai.local import whereabouts
from garage_ai.local.folders import Folders
from garage_ai.local.processes import ProcessMark, UpRecord, own_mark

URL = "http://127.0.0.1:8765"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty home where no variable says anything."""
    for name in ("GAI_GATEWAY", "GAI_API_KEY", "GAI_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def network_in(folder: Path, mark: ProcessMark | None = None) -> Folders:
    """Make a folder as a `gai up` of this very process would leave it."""
    folders = Folders(folder)
    folders.run.mkdir(parents=True)
    folders.admin_key.write_text("gai_admin\n")
    record = UpRecord(mark or own_mark(), URL, "127.0.0.1", 8765, str(folder), None, 0.0)
    whereabouts.announce(folders, record)
    return folders


def test_nothing_known(home: Path) -> None:
    """Without a network here and without a URL there is nobody to talk to."""
    with pytest.raises(Unreachable):
        find_target()


def test_the_network_of_the_default_folder(home: Path) -> None:
    """After `gai up` neither URL nor key is needed."""
    network_in(home / "data" / "garage-ai")
    target = find_target()
    assert (target.url, target.key) == (URL, "gai_admin")


def test_the_network_of_another_folder(home: Path) -> None:
    """Nor after `gai up --data-dir DIR`."""
    network_in(home / "elsewhere")
    assert find_target().key == "gai_admin"


def test_a_folder_that_is_named(home: Path) -> None:
    """--data-dir means that network and no other."""
    network_in(home / "one")
    with pytest.raises(Unreachable):
        find_target(data_dir=home / "two")
    assert find_target(data_dir=home / "one").url == URL


def test_what_is_the_matter_with_a_folder_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs from it, or another user's network does, which nobody is to start twice."""
    folder = home / "of the service"
    with pytest.raises(Unreachable) as nothing:
        find_target(data_dir=folder)
    assert nothing.value.message == f"No network runs from {folder}."
    assert f"gai up --data-dir {folder}" in nothing.value.advice

    network_in(folder)
    monkeypatch.setenv("GAI_DATA_DIR", str(folder))

    def refused(self: Path, *args: object, **more: object) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    for way in ("open", "stat"):
        monkeypatch.setattr(Path, way, refused)
    with pytest.raises(Unreachable) as closed:
        find_target()
    assert f"{folder} is another user's" in closed.value.message
    assert f"sudo -u USER gai … --data-dir {folder}" in closed.value.advice
    assert "gai up" not in closed.value.advice


@pytest.mark.parametrize(
    ("url", "only_here"),
    [
        (URL, True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("https://gai.example:8000", False),
        ("http://10.8.0.1:8000", False),
    ],
)
def test_an_address_that_others_do_not_reach(home: Path, url: str, only_here: bool) -> None:
    """Whoever is sent it would ask their own PC."""
    assert target_at(url, "k").is_only_here is only_here


def test_a_folder_in_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves the `~` of `--data-dir=~/one` as it is."""
    monkeypatch.setenv("HOME", str(home))
    network_in(home / "one")
    assert find_target(data_dir=folder_named("~/one")).url == URL
    monkeypatch.setenv("GAI_DATA_DIR", "~/one")
    assert find_target().url == URL
    with pytest.raises(Misused):
        folder_named("~nobody-of-that-name")


def test_a_dead_network_gets_no_key(home: Path) -> None:
    """Whoever took the port of a `gai up` that is gone never sees its key."""
    mark = own_mark()
    network_in(home / "data" / "garage-ai", ProcessMark(mark.pid, mark.tick - 1, mark.boot))
    with pytest.raises(Unreachable):
        find_target()


def test_the_admin_key_goes_nowhere_else(home: Path) -> None:
    """A gateway named by URL gets the key that was given for it, or none."""
    network_in(home / "data" / "garage-ai")
    with pytest.raises(Refused):
        find_target(gateway="https://elsewhere.example")
    assert find_target(gateway="https://elsewhere.example", api_key="k").key == "k"


@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}/v1", "http://localhost:8765/v1/"])
def test_the_network_here_by_its_url(home: Path, url: str) -> None:
    """Naming the network here by its URL still needs no key."""
    network_in(home / "data" / "garage-ai")
    assert find_target(gateway=url).key == "gai_admin"


def test_a_key_of_ones_own(home: Path) -> None:
    """A key that is given is used, here too."""
    network_in(home / "data" / "garage-ai")
    assert find_target(api_key="gai_mine").key == "gai_mine"


def test_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GAI_GATEWAY and GAI_API_KEY say it for every command."""
    monkeypatch.setenv("GAI_GATEWAY", "https://gai.example/v1")
    monkeypatch.setenv("GAI_API_KEY", "gai_k")
    target = find_target()
    assert (target.url, target.host, target.port) == ("https://gai.example", "gai.example", 443)
    assert target.is_tls


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "127.0.0.1:8000", "http://", "http://x:99999", "http://a..b"]
)
def test_what_is_no_url(home: Path, url: str) -> None:
    """What cannot be an address is a misuse, not a network error."""
    if not url:
        with pytest.raises(Unreachable):
            find_target(gateway=url, api_key="k")
        return
    with pytest.raises(Misused):
        find_target(gateway=url, api_key="k")


def test_the_ca_that_an_invite_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trusted at that address alone, and where SSL_CERT_FILE says nothing else."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    path = kept_ca("https://gai.example:8000/")
    path.parent.mkdir(parents=True)
    path.write_text("a CA")
    assert find_target(gateway="https://gai.example:8000/v1", api_key="k").ca == path
    for url in (
        "https://gai.example",
        "http://gai.example:8000",
        f"https://{'x' * 60}{'.x' * 120}:8000",
    ):
        assert find_target(gateway=url, api_key="k").ca is None
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/other.pem")
    assert find_target(gateway="https://gai.example:8000", api_key="k").ca is None


def test_a_kept_ca_that_is_not_the_networks_any_more(home: Path) -> None:
    """The file that stands in the way is named; without one the advice is another."""
    bare = target_at("https://gai.example:8000", "k")
    assert "SSL_CERT_FILE" in untrusted_advice(bare)
    path = kept_ca(bare.url)
    assert str(path) in untrusted_advice(replace(bare, ca=path))


def test_a_pointer_of_somebody_else_is_not_believed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the owner's own pointer leads to a folder with a key."""
    network_in(home / "elsewhere")
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(Unreachable):
        find_target()


def test_a_network_that_left(home: Path) -> None:
    """What withdrew is not found."""
    folders = network_in(home / "elsewhere")
    whereabouts.withdraw(folders)
    with pytest.raises(Unreachable):
        find_target()


def test_a_key_that_was_copied_badly(home: Path) -> None:
    """Typographic quotes are found before they become a header; white space does no harm."""
    with pytest.raises(Misused):
        find_target(gateway="https://gai.example", api_key="\u201cgai_k\u201d")
    assert find_target(gateway="https://gai.example", api_key=" gai_k\n").key == "gai_k"
