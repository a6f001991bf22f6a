"""The unit that the pages give a network runs it as `gai up` needs to be run."""

import configparser
import shlex

from tests.parts.documents import Document
from tests.parts.tree import ROOT
from tests.unit.docs.test_examples import check

from garage_ai.local.up import DRAIN_SECONDS

PUBLIC = Document(ROOT / "docs/how-to/public.md")

SYSTEMD_STARTS, SYSTEMD_WITHIN = 5, 10
"""After so many starts within so many seconds systemd gives up, unless a unit says otherwise."""


def service() -> configparser.SectionProxy:
    """Give the part of the unit that is about the process."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(PUBLIC.blocks("ini")[0].text)
    return parser["Service"]


def test_a_stop_reaches_gai_up_alone() -> None:
    """It ends its parts in order: NATS, which carries the answers under way, as the last."""
    unit = service()
    assert unit["KillMode"] == "mixed"
    assert float(unit["TimeoutStopSec"]) > DRAIN_SECONDS


def test_it_is_tried_for_as_long_as_it_takes() -> None:
    """A database or an address that comes late after a restart is waited for."""
    unit = service()
    assert unit["Restart"] == "on-failure"
    assert float(unit["RestartSec"]) * SYSTEMD_STARTS > SYSTEMD_WITHIN


def test_it_starts_what_there_is() -> None:
    """With options that `gai up` takes."""
    program, *words = shlex.split(service()["ExecStart"])
    assert program == "/opt/garage-ai/.venv/bin/gai"
    check(words)
