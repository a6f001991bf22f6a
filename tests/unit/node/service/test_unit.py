"""The unit of a node, word for word."""

from pathlib import Path

import pytest

from garage_ai.node.errors import NotPossible
from garage_ai.node.service.unit import environment_text, final_codes, unit_name, unit_text

GOLDEN = """\
# Made by `gai node service install`, which writes it anew; removed by `gai node service remove`.
[Unit]
Description=Garage AI node
StartLimitIntervalSec=120
StartLimitBurst=10

[Service]
Type=exec
ExecStart=/home/anna/garage/.venv/bin/gai node run --data-dir /home/anna/.local/share/garage-ai
EnvironmentFile=-/home/anna/.local/share/garage-ai/service.env
Restart=on-failure
RestartSec=15
# These need a person: `gai node service status` says what for.
RestartPreventExitStatus={codes}
# The agent is asked to stop and finishes what runs; only what is left after that is killed.
KillMode=mixed
TimeoutStopSec=45
# Whatever else the PC does comes first.
Nice=10
CPUWeight=20
IOSchedulingClass=idle
OOMScoreAdjust=500
# An engine that ran out of memory is started again by its agent.
OOMPolicy=continue

[Install]
WantedBy=default.target
"""
HOME = Path("/home/anna/.local/share/garage-ai")


def test_the_unit_word_for_word() -> None:
    """What a volunteer can read and check."""
    argv = ("/home/anna/garage/.venv/bin/gai", "node", "run", "--data-dir", str(HOME))
    codes = " ".join(str(code) for code in final_codes())
    assert unit_text(argv, HOME) == GOLDEN.format(codes=codes)


def test_the_service_gives_up_where_a_person_is_needed() -> None:
    """Options, identity, no sandbox: no; a network, a daemon, a driver, a disk: yes."""
    codes = set(final_codes())
    assert codes >= {2, 4, 5, 6, 7, 8, 11, 12, 14, 15, 21, 22, 24, 25, 26}
    assert not codes & {0, 1, 3, 9, 10, 13, 16, 23, 27, 130}


def test_what_may_pass_is_waited_for_as_long_as_it_takes() -> None:
    """Ends that take no time at all never reach systemd's limit: after that nothing would start."""
    lines = unit_text(("/gai",), HOME).splitlines()
    number = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    waits = int(number["RestartSec"]) * int(number["StartLimitBurst"])
    assert waits > int(number["StartLimitIntervalSec"])


def test_words_are_systemds_and_nobody_elses() -> None:
    """Spaces, quotes, percent and dollar signs reach the agent as they are."""
    folder = Path('/srv/my "100%" $garage\\s')
    text = unit_text(("/opt/a b/gai", "run", "--data-dir", str(folder)), folder)
    assert 'ExecStart="/opt/a b/gai" run --data-dir' in text
    assert '"/srv/my \\"100%%\\" $$garage\\\\s"\n' in text
    assert 'EnvironmentFile=-/srv/my "100%%" $garage\\s/service.env\n' in text


def test_a_folder_that_no_unit_can_name_is_refused() -> None:
    """A line break would begin another setting."""
    with pytest.raises(NotPossible, match="another folder"):
        unit_text(("/gai",), Path("/srv/a\nExecStartPre=/bin/evil"))


def test_each_folder_has_a_unit_of_its_own() -> None:
    """The usual folder the usual name; the same folder always the same."""
    assert unit_name(HOME, HOME) == "garage-ai-node.service"
    other = unit_name(Path("/srv/second"), HOME)
    assert other != "garage-ai-node.service"
    assert other == unit_name(Path("/srv/second"), HOME)
    assert other.startswith("garage-ai-node-")


def test_it_goes_by_what_the_terminal_went_by_and_no_more() -> None:
    """PATH, proxies, the engine's key, the cards that it may use, where Podman keeps its images;
    nothing else of the shell, and nothing of two lines."""
    environment = {
        "PATH": "/usr/bin",
        "GAI_ENGINE_KEY": 'a"b$c\\d`e',
        "https_proxy": "http://p:3128",
        "CUDA_VISIBLE_DEVICES": "1",
        "XDG_DATA_HOME": "/big/anna",
        "HF_TOKEN": "two\nlines",
        "AWS_SECRET_ACCESS_KEY": "x",
        "LANG": "",
    }
    assert environment_text(environment).splitlines() == [
        'https_proxy="http://p:3128"',
        'CUDA_VISIBLE_DEVICES="1"',
        'GAI_ENGINE_KEY="a\\"b\\$c\\\\d\\`e"',
        'PATH="/usr/bin"',
        'XDG_DATA_HOME="/big/anna"',
    ]
