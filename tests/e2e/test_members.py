"""A person with nothing but a link: in, at work, out again; and a log of it that holds."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Home:
    """A PC of somebody who knows the network by its address alone."""

    folder: Path
    gateway: str

    def gai(self, *words: str, key: str = "", code: int = 0) -> str:
        """Type a command; gives what it prints."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "GAI_GATEWAY": self.gateway,
            "GAI_API_KEY": key,
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "garage_ai.cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr


def test_an_invited_person_comes_works_and_leaves(lent: Lent, tmp_path: Path) -> None:
    """A key from the link, an answer, the own usage, all of it in a file, and then nothing."""
    product, home = lent.product, Home(tmp_path, lent.product.url)
    link = product.gai("member", "invite", "--name", "Anna")["link"]
    assert link.startswith(f"{product.url}/invite#gaim_")
    key = home.gai("member", "accept", link).strip()
    assert re.fullmatch(r"gai_[0-9A-Za-z]{38}", key)
    assert "invite" in home.gai("member", "accept", link, "--name", "Bo", code=4)
    invite = product.gai("member", "invites")[-1]
    assert (invite["name"], invite["used"], invite["state"]) == ("Anna", 1, "used")

    assert home.gai("chat", MODEL, "Hello", key=key).strip()

    def used() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(home.gai("usage", "--json", key=key))
        return found

    (total,) = eventually("the usage", used, 20)
    assert (total["group"], total["requests"]) == (MODEL, 1)
    laptop = json.loads(home.gai("key", "create", "--name", "laptop", "--json", key=key))
    assert "Anna" in home.gai("me", key=key)

    file = tmp_path / "me.json"
    home.gai("me", "export", str(file), key=key)
    assert file.stat().st_mode & 0o777 == 0o600
    export = json.loads(file.read_bytes())
    assert export["member"]["name"] == "Anna"
    assert [each["model"] for each in export["usage"]] == [MODEL]
    assert {each["name"] for each in export["keys"]} == {"first key", "laptop"}
    assert key not in file.read_text()

    home.gai("me", "erase", "--confirm", "Bo", key=key, code=1)
    home.gai("me", "erase", "--confirm", "Anna", key=key)
    for dead in (key, laptop["key"]):
        home.gai("models", key=dead, code=4)
    assert "Anna" not in json.dumps(product.gai("member", "list"))


def test_an_invite_that_was_ended_lets_nobody_in(lent: Lent, tmp_path: Path) -> None:
    """Whoever sent a link to the wrong person can take it back."""
    product, home = lent.product, Home(tmp_path, lent.product.url)
    made = product.gai("member", "invite")
    [ended] = product.gai("member", "invites", "--end", made["id"])
    assert ended["state"] == "revoked"
    assert "invite" in home.gai("member", "accept", made["link"], code=4)


def test_a_suspended_member_waits_outside(lent: Lent, tmp_path: Path) -> None:
    """Its key does nothing until it is resumed."""
    product, home = lent.product, Home(tmp_path, lent.product.url)
    link = product.gai("member", "invite")["link"]
    joined = json.loads(home.gai("member", "accept", link, "--name", "Bo", "--json"))
    assert (joined["gateway"], joined["ca"]) == (product.url, None)
    member = joined["member"]["id"]
    assert product.gai("member", "suspend", member)["state"] == "suspended"
    assert "suspended" in home.gai("models", key=joined["key"], code=4)
    product.gai("member", "resume", member)
    assert MODEL in home.gai("models", key=joined["key"])


def test_the_log_is_whole_online_and_in_a_file(lent: Lent, tmp_path: Path) -> None:
    """Whoever has an export can check it with nothing else, and sees what was changed in it."""
    product, home = lent.product, Home(tmp_path, lent.product.url)
    product.new_key()
    online = product.gai("audit", "verify")
    assert online["whole"] is True
    assert online["size"] > 2
    made = product.gai("audit", "list", "--action", "key.made")
    assert made[0]["actor"] == "key"
    file = tmp_path / "audit.jsonl"
    home.gai("audit", "export", str(file), key=product.key)
    assert json.loads(home.gai("audit", "verify", str(file), "--json"))["whole"] is True
    lines = file.read_text().splitlines(keepends=True)
    for tampered in (
        [*lines[:1], *lines[2:]],
        [*lines[:2], lines[2].replace('"action":"', '"action":"x'), *lines[3:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
    ):
        file.write_text("".join(tampered))
        assert "NOT whole" in home.gai("audit", "verify", str(file), code=1)
    file.write_text("no log")
    assert "no export" in home.gai("audit", "verify", str(file), code=1)
