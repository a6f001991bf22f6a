"""`gai node doctor --fix` at a terminal: commands are shown, asked about, and run."""

import os
from pathlib import Path

import msgspec
import pytest

from garage_ai.cli import node_mending, output
from garage_ai.cli.node_findings import show_findings
from garage_ai.cli.node_mending import offer
from garage_ai.cli.preflight_words import CASES, command_of
from garage_ai.node.preflight.models import Finding

SUBIDS = Finding("subids", "fail", "none", {"user": "anna", "range": "196608-262143"})
CLOCK = Finding("clock", "warn", "behind", {"seconds": "40"})
LINGER = Finding("linger", "warn", "off")


@pytest.fixture(autouse=True)
def pc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Path:
    """A PC of an ordinary user at a terminal, whose programs write down what they were told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sudo", "usermod", "timedatectl", "loginctl", "podman"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/ran\n')
        (programs / name).chmod(0o755)
    (tmp_path / "sbin").mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(node_mending, "_ROOTS_PATH", (str(tmp_path / "sbin"),))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(output, "at_terminal", lambda: True)
    return tmp_path


def says(monkeypatch: pytest.MonkeyPatch, *answers: bool) -> list[bool]:
    """Let the owner answer so; what is left was not asked."""
    left = list(answers)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: left.pop(0))
    return left


def ran(pc: Path) -> list[str]:
    told = pc / "ran"
    return told.read_text().splitlines() if told.exists() else []


def test_each_command_is_run_on_a_yes(
    pc: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Shown before it is asked about; a no leaves things as they are."""
    left = says(monkeypatch, True, False, True)
    assert offer([SUBIDS, CLOCK, LINGER])
    assert not left
    assert ran(pc) == [
        "sudo usermod --add-subuids 196608-262143 --add-subgids 196608-262143 anna",
        "podman system migrate",
        "loginctl enable-linger",
    ]
    assert "  $ sudo timedatectl set-ntp true" in capfd.readouterr().out


def test_what_is_well_is_not_touched_and_the_same_is_asked_once(
    pc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cases with one command; a finding that is well; advice that is no command."""
    left = says(monkeypatch, False, True)
    advice = Finding("os", "fail", "other", {"system": "Plan 9", "kernel": "4"})
    fine = Finding("linger", "ok", "ok")
    wrong = Finding("clock", "fail", "wrong", {"seconds": "4000"})
    assert not offer([CLOCK, wrong, fine, advice])
    assert left == [True]
    assert ran(pc) == []


def test_a_program_that_is_not_here_is_not_offered(
    pc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`apt` on Fedora: the advice stands in the list, and nothing is asked."""
    says(monkeypatch)
    assert not offer([Finding("container", "fail", "none")])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    left = says(monkeypatch, True)
    (pc / "bin/sudo").unlink()
    assert offer([CLOCK])
    assert not left
    assert ran(pc) == ["timedatectl set-ntp true"]


def test_a_command_that_fails_is_told(
    pc: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its code; the others are still offered."""
    (pc / "bin/sudo").write_text("#!/bin/sh\nexit 3\n")
    says(monkeypatch, True, True)
    assert offer([CLOCK, LINGER])
    assert "3" in capfd.readouterr().err
    assert ran(pc) == ["loginctl enable-linger"]


def test_nobody_is_asked_without_a_terminal(pc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script nothing is run that was not said."""
    monkeypatch.setattr(output, "at_terminal", lambda: False)
    assert not offer([SUBIDS, CLOCK, LINGER])
    assert ran(pc) == []


def test_a_name_cannot_leave_its_place_in_a_command() -> None:
    """What a PC says of itself stands quoted."""
    odd = Finding("subids", "fail", "none", {"user": "a; rm -rf /", "range": "1-2"})
    assert "'a; rm -rf /' &&" in command_of(odd)


def test_what_sudo_runs_is_looked_for_where_sudo_looks(
    pc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's users have no sbin in their PATH, and usermod and sysctl are there."""
    (pc / "bin/usermod").rename(pc / "sbin/usermod")
    says(monkeypatch, True)
    assert offer([SUBIDS])
    assert ran(pc)[0].startswith("sudo usermod --add-subuids")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    says(monkeypatch, True)
    assert offer([SUBIDS])
    assert ran(pc)[2].startswith("usermod --add-subuids")


def test_enter_says_yes_only_to_what_the_engine_needs(
    pc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only another engine would need is not asked about: Podman, to lend a server."""
    defaults = []

    def confirm(_: str, *, default: bool) -> bool:
        defaults.append(default)
        return False

    monkeypatch.setattr("typer.confirm", confirm)
    (pc / "bin/apt").write_text("")
    (pc / "bin/apt").chmod(0o755)
    missing = Finding("container", "fail", "none")
    unneeded = msgspec.structs.replace(missing, state="warn")
    assert not offer([missing, LINGER])
    assert defaults == [True, False]
    assert not offer([unneeded, msgspec.structs.replace(SUBIDS, state="warn")])
    assert defaults == [True, False]


def test_what_a_command_does_not_do_by_itself_is_told(
    pc: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """systemd hands limits on at the next log-in; said once it was run, and in the list."""
    (pc / "bin/mkdir").write_text("#!/bin/sh\n")
    (pc / "bin/mkdir").chmod(0o755)
    given = Finding("cgroup", "warn", "not_given", {"missing": "memory"})
    says(monkeypatch, False)
    assert not offer([given])
    assert "next log-in" not in capfd.readouterr().out
    says(monkeypatch, True)
    assert offer([given])
    assert "next log-in" in capfd.readouterr().out
    show_findings([given])
    assert "next log-in" in capfd.readouterr().out


@pytest.mark.parametrize("case", ["none", "forbidden"])
def test_a_switch_of_the_kernels_outlives_a_restart(case: str) -> None:
    """It is set now, and in a file that is read at each start."""
    command = command_of(Finding("userns", "fail", case))
    setting = command.split()[3]
    name = setting.partition("=")[0]
    assert command.startswith(f"sudo sysctl -w {name}=")
    assert command.endswith(f"&& echo {setting} | sudo tee /etc/sysctl.d/99-{name}.conf")


def test_a_command_is_the_same_in_both_languages() -> None:
    """What begins like a command is one, and no sentence; what it leaves to do is said in both."""
    for case, said in CASES.items():
        if said.fix.startswith(("sudo ", "loginctl ", "podman ", "gai ")):
            assert not said.fix_sv, case
            assert "  " not in said.fix, case
        else:
            assert bool(said.fix) == bool(said.fix_sv), case
            assert not said.then, case
        assert bool(said.then) == bool(said.then_sv), case
