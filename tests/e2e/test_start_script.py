import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts.checkout import Checkout, Tools, said, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Checkout:
    """A checkout in a folder with a space in its name; on a machine with uv, or with pip alone."""
    uv = getattr(request, "param", "uv") == "uv"
    return Checkout(tmp_path / "my garage", Tools(tmp_path / "bin"), uv=uv)


with_both = pytest.mark.parametrize("checkout", ["uv", "pip"], indirect=True)


@with_both
def test_first_start_installs_and_becomes_gai(checkout: Checkout) -> None:
    """Options reach `gai up` as typed, in the caller's folder; stdout is gai's alone."""
    done = checkout.run("--port", "0", "--data-dir", "a b")
    answer = said(done)
    assert answer["arguments"] == ["up", "--port", "0", "--data-dir", "a b"]
    assert answer["folder"] == str(checkout.home)
    assert "[1/4] Making the Python environment" in done.stderr
    assert "[4/4] Installing Garage AI ... done" in done.stderr


@pytest.mark.system
@pytest.mark.parametrize("shell", [("busybox", "sh"), ("dash",)])
def test_any_posix_shell_will_do(checkout: Checkout, shell: tuple[str, ...]) -> None:
    """The smallest shells at hand install and start as well."""
    assert said(checkout.run("--no-node", shell=shell))["arguments"] == ["up", "--no-node"]
    assert checkout.run(shell=shell).stderr == ""


def test_second_start_goes_straight_to_gai(checkout: Checkout) -> None:
    """Nothing is installed or said twice, and the shell takes less than 50 ms of the start."""
    said(checkout.run())
    again = checkout.run()
    assert said(again)["arguments"] == ["up"]
    assert (again.stderr, checkout.builds) == ("", 1)

    (checkout.venv / "bin/gai").write_text("#!/bin/sh\n")
    took = []
    for _ in range(10):
        began = processor_time()
        checkout.run()
        took.append(processor_time() - began)
    assert min(took) < 0.05


def processor_time() -> float:
    """Seconds that children have had of the processor, whatever else it had to do."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_start_through_a_link(checkout: Checkout, tmp_path: Path) -> None:
    """A link to start.sh from elsewhere finds the checkout it points into."""
    link = tmp_path / "garage"
    link.symlink_to(checkout.root / "start.sh")
    answer = said(checkout.run(script=link, cwd=tmp_path))
    assert answer["folder"] == str(tmp_path)
    assert checkout.venv.is_dir()


def test_join_becomes_gai_node_join(checkout: Checkout) -> None:
    """`join` passes everything on and brings llama.cpp and a model."""
    answer = said(checkout.run("join", "http://host:8000", "gaij_x", "--slots", "2"))
    assert answer["arguments"] == ["node", "join", "http://host:8000", "gaij_x", "--slots", "2"]
    log = (checkout.venv / "install.log").read_text()
    assert "node engine model" in log


@pytest.mark.parametrize("option", [["--engine", "external"], ["--engine=external"]])
def test_join_with_an_own_server_installs_the_base_alone(
    checkout: Checkout, option: list[str]
) -> None:
    """Who lends a server they already run gets no llama.cpp; a later `up` adds what it needs."""
    said(checkout.run("join", "http://host:8000", "gaij_x", *option))
    assert "engine model" not in (checkout.venv / "install.log").read_text()
    said(checkout.run())
    assert checkout.builds == 2
    assert said(checkout.run("join", "http://host:8000", "gaij_x"))["arguments"]
    assert checkout.builds == 2


@pytest.mark.parametrize("change", ["lock", "project", "python"])
def test_what_changed_is_installed_anew(checkout: Checkout, change: str) -> None:
    """New locks, a new project file or another Python under .venv are noticed by the next start."""
    said(checkout.run())
    if change == "python":
        interpreter = checkout.venv / "bin/python"
        interpreter.unlink()
        interpreter.symlink_to("/nowhere/python3")
    else:
        path = {"lock": "requirements/up.lock", "project": "pyproject.toml"}[change]
        with (checkout.root / path).open("a") as file:
            file.write("# changed\n")
    said(checkout.run())
    assert checkout.builds == 2
    assert checkout.run().stderr == ""


def test_a_moved_checkout_is_made_anew(checkout: Checkout, tmp_path: Path) -> None:
    """Paths are written into an environment; a checkout that was moved gets a fresh one."""
    said(checkout.run())
    checkout.root = checkout.root.rename(tmp_path / "garage")
    done = checkout.run()
    assert said(done)["arguments"] == ["up"]
    assert "[1/4]" in done.stderr


@pytest.fixture
def holding(checkout: Checkout) -> Iterator[Checkout]:
    """A checkout whose install stands still in the middle."""
    checkout.hold()
    yield checkout
    (checkout.root / "hold").unlink(missing_ok=True)


@with_both
def test_a_killed_install_heals(holding: Checkout) -> None:
    """kill -9 of everything in the middle: the next start begins again and finishes."""
    first = holding.begin()
    holding.wait_for_build()
    holding.kill(first)
    (holding.root / "hold").unlink()
    said(holding.run())
    assert holding.run().stderr == ""


def test_an_installer_that_outlives_its_shell_is_waited_for(holding: Checkout) -> None:
    """kill -9 of start.sh alone leaves pip or uv at work; the next start does not race it."""
    first = holding.begin()
    holding.wait_for_build()
    first.kill()
    second = holding.begin()
    assert second.stderr
    assert "Another start is installing" in second.stderr.readline()
    assert holding.builds == 1
    holding.release()
    first.communicate(timeout=60)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert holding.builds == 2


def test_two_starts_at_once(holding: Checkout) -> None:
    """The second waits for the first, installs nothing, and both become gai."""
    first = holding.begin()
    holding.wait_for_build()
    second = holding.begin()
    assert second.stderr
    assert "Another start is installing" in second.stderr.readline()
    holding.release()
    for each in (first, second):
        output, errors = each.communicate(timeout=60)
        assert each.returncode == 0, errors
        assert "arguments" in output
    assert holding.builds == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_an_install(holding: Checkout, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the install and all it started, and say how to go on."""
    process = holding.begin()
    holding.wait_for_build()
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Start again to finish" in errors
    (holding.root / "hold").unlink()
    said(holding.run())


def test_a_failed_install_says_what_to_do(checkout: Checkout) -> None:
    """The last lines of the log, where the log is, and that it may be tried again."""
    (checkout.root / "broken").touch()
    done = checkout.run()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the trial is broken on purpose" in done.stderr
    assert str(checkout.venv / "install.log") in done.stderr
    assert "start again" in done.stderr
    (checkout.root / "broken").unlink()
    said(checkout.run())


@pytest.mark.parametrize("name", [".venv", ".venv.lock"])
def test_what_a_start_with_sudo_made_is_told(checkout: Checkout, name: str) -> None:
    """A later start without it may not install there: the one line that mends it, and no more."""
    said(checkout.run())
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    place = checkout.root / name
    place.chmod(0o555 if place.is_dir() else 0o444)
    # Root may write everywhere, unless it gives up its rights.
    plain = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    done = checkout.run(shell=plain)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{place} cannot be written to; ")
    assert f"'{checkout.venv}' '{checkout.root}/.venv.lock'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    place.chmod(0o755)
    said(checkout.run(shell=plain))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ({"LANG": "sv_SE.UTF-8"}, "Gör Python-miljön"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "sv_FI"}, "Gör Python-miljön"),
        ({"LANG": "sv_SE.UTF-8", "LC_ALL": "C"}, "Making the Python environment"),
        ({}, "Making the Python environment"),
    ],
)
def test_it_speaks_the_users_language(
    checkout: Checkout, language: dict[str, str], expected: str
) -> None:
    """Swedish where the locale says so, English everywhere else."""
    env = checkout.environment()
    del env["LC_ALL"]
    assert expected in checkout.run(env=env | language).stderr


def test_a_foreign_pythonpath_stays_outside(checkout: Checkout, tmp_path: Path) -> None:
    """What PYTHONPATH and PIP_USER of the user's shell bring does not reach the environment."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/json.py").write_text("raise RuntimeError('foreign')")
    env = checkout.environment(PYTHONPATH=str(tmp_path / "foreign"), PIP_USER="1")
    said(checkout.run(env=env))


def test_a_terminal_sees_time_pass(holding: Checkout) -> None:
    """On a terminal the running step counts its seconds."""
    master, slave = os.openpty()
    try:
        with subprocess.Popen(
            [holding.root / "start.sh"],
            env=holding.environment(),
            stdout=subprocess.DEVNULL,
            stderr=slave,
            start_new_session=True,
        ) as process:
            seen = bytearray()

            def counted() -> bool:
                seen.extend(os.read(master, 4096))
                return re.search(rb"Installing Garage AI \.\.\. [1-9]\d* s", seen) is not None

            try:
                wait_until(counted)
            finally:
                holding.release()
            assert process.wait(timeout=60) == 0
    finally:
        os.close(master)
        os.close(slave)
