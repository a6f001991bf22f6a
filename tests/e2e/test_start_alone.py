"""start.sh fetched by itself: it installs a package, checked, and goes on as usual."""

import functools
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from tests.parts.alone import Alone, make_wheel, sha256_of
from tests.parts.checkout import Checkout, Tools, said, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Alone:
    """A folder with a space in its name; on a machine with uv, or with pip alone."""
    uv = getattr(request, "param", "uv") == "uv"
    return Alone(tmp_path / "my garage", Tools(tmp_path / "bin"), uv=uv)


@pytest.fixture
def server(alone: Alone) -> Iterator[str]:
    """The address of a server that has the trial package."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(alone.wheel.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/{alone.wheel.name}"
        http.shutdown()
        thread.join()


def start(alone: Alone, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return alone.run(*arguments, env=alone.environment(**extra))


with_both = pytest.mark.parametrize("alone", ["uv", "pip"], indirect=True)


@with_both
def test_a_named_wheel_is_installed_and_becomes_gai(alone: Alone) -> None:
    """Options arrive as typed; the wheel is nowhere needed again, and nothing is said twice."""
    done = start(alone, "join", "http://host:8000", "gaij_x", GAI_PACKAGE=str(alone.wheel))
    assert said(done)["arguments"] == ["node", "join", "http://host:8000", "gaij_x"]
    assert "[2/4] Fetching and checking the package ... done" in done.stderr
    log = (alone.venv / "install.log").read_text()
    assert all(f"{name}.lock" in log or name in log for name in ("node", "engine", "model"))
    assert sorted(path.name for path in alone.root.iterdir()) == [
        ".venv",
        ".venv.lock",
        "start.sh",
    ]
    alone.wheel.unlink()
    again = start(alone, "join", "http://host:8000", "gaij_x")
    assert (again.returncode, again.stderr) == (0, "")
    more = start(alone, "--port", "0")
    assert said(more)["arguments"] == ["up", "--port", "0"]
    assert "Taking the package that is here" in more.stderr


def test_a_path_is_meant_from_where_it_is_typed(alone: Alone) -> None:
    """A relative path is one of the caller's folder, with a hash behind it or without."""
    there = alone.wheel.parent
    package = f"{alone.wheel.name}#sha256={sha256_of(alone.wheel)}"
    done = alone.run(cwd=there, env=alone.environment(GAI_PACKAGE=package))
    assert said(done)["folder"] == str(there)


def test_a_wrong_hash_is_told_also_where_that_wheel_is_installed(alone: Alone) -> None:
    """Whoever names a hash wants those bytes and no others, today as on the first day."""
    said(start(alone, GAI_PACKAGE=str(alone.wheel)))
    wrong = "0" * 64
    done = start(alone, GAI_PACKAGE=f"{alone.wheel}#sha256={wrong}")
    assert done.returncode == 1
    assert f"instead of {wrong}" in done.stderr
    said(start(alone, GAI_PACKAGE=f"{alone.wheel}#sha256={sha256_of(alone.wheel)}"))


def test_another_wheel_is_installed_anew(alone: Alone) -> None:
    """The same version with other contents counts as another package."""
    said(start(alone, GAI_PACKAGE=str(alone.wheel)))
    make_wheel(alone.wheel.parent, "2")
    assert "Installing Garage AI" in start(alone, GAI_PACKAGE=str(alone.wheel)).stderr
    (mark,) = alone.venv.glob("lib/*/site-packages/garage_mark.py")
    assert mark.read_text() == "mark = '2'\n"
    assert start(alone, GAI_PACKAGE=str(alone.wheel)).stderr == ""


@with_both
def test_the_released_package_is_fetched_and_checked(alone: Alone, server: str) -> None:
    """What a release wrote into start.sh is all it takes."""
    alone.released(f"{server}#sha256={sha256_of(alone.wheel)}")
    assert said(alone.run())["arguments"] == ["up"]
    assert alone.run().stderr == ""


@pytest.mark.parametrize("downloader", ["curl", "wget", "python"])
def test_it_is_fetched_with_what_is_there(alone: Alone, server: str, downloader: str) -> None:
    """curl, else wget, else Python itself."""
    for program in Path("/usr/bin").iterdir():
        if program.name not in ("curl", "wget", "uv", "python3"):
            alone.tools.link(program.name, program)
    used = alone.tools.folder.parent / "used"
    if downloader != "python":
        # Either is told where to write, in a word of its own or behind a `=`.
        alone.tools.script(
            downloader,
            f"touch {used}; for word; do case $word in */new/*) out=${{word#*=}};; esac; done\n"
            f'cp "{alone.wheel}" "$out"',
        )
    package = f"{server}#sha256={sha256_of(alone.wheel)}"
    path = str(alone.tools.folder)
    done = alone.run(env=alone.environment(GAI_PACKAGE=package, PATH=path))
    assert said(done)["arguments"] == ["up"]
    assert used.exists() == (downloader != "python")


def test_other_bytes_than_were_released_are_not_installed(alone: Alone, server: str) -> None:
    """The hash decides, not the address; put right, the next start goes on."""
    right = sha256_of(alone.wheel)
    make_wheel(alone.wheel.parent, "stranger")
    alone.released(f"{server}#sha256={right}")
    done = alone.run()
    assert done.returncode == 1
    assert f"instead of {right}" in done.stderr
    assert not list(alone.venv.glob("bin/gai"))
    assert not list(alone.venv.glob(".package/*.whl"))
    make_wheel(alone.wheel.parent)
    said(alone.run())


def test_without_a_release_it_says_what_to_do(alone: Alone) -> None:
    """Nothing is made, fetched or guessed."""
    done = alone.run("join", "http://host:8000", "gaij_x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No package of Garage AI is released yet" in done.stderr
    assert "GAI_PACKAGE=PATH ./start.sh" in done.stderr
    assert [path.name for path in alone.root.iterdir()] == ["start.sh"]
    assert "GAI_PACKAGE=SÖKVÄG" in start(alone, LC_ALL="sv_SE.UTF-8").stderr


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("/nowhere/garage_ai-1-py3-none-any.whl", "There is no /nowhere/"),
        ("/etc/hostname", "is not a wheel"),
        ("https://example.org/garage_ai-1-py3-none-any.whl", "needs its hash"),
    ],
)
def test_what_is_no_package_is_named(alone: Alone, package: str, words: str) -> None:
    """A mistyped GAI_PACKAGE costs nothing."""
    done = start(alone, GAI_PACKAGE=package)
    assert done.returncode == 1
    assert words in done.stderr
    assert not alone.venv.exists()


def test_an_environment_of_another_program_is_left_alone(alone: Alone) -> None:
    """Somebody's own .venv in the folder is not taken for ours, nor removed."""
    (alone.venv / "lib").mkdir(parents=True)
    done = start(alone, GAI_PACKAGE=str(alone.wheel))
    assert done.returncode == 1
    assert "a folder of its own" in done.stderr
    assert list(alone.venv.iterdir()) == [alone.venv / "lib"]


@with_both
def test_a_killed_install_heals(alone: Alone, tmp_path: Path) -> None:
    """kill -9 of everything while the package is fetched: the next start begins again."""
    os.mkfifo(tmp_path / "hold")
    begun = tmp_path / "begun"
    alone.tools.script("curl", f"touch {begun}; cat {tmp_path}/hold")
    package = f"http://127.0.0.1:1/{alone.wheel.name}#sha256={sha256_of(alone.wheel)}"
    alone.released(package)
    first = alone.begin()
    wait_until(begun.exists)
    alone.kill(first)
    assert (alone.venv / ".unfinished").exists()
    done = start(alone, GAI_PACKAGE=str(alone.wheel))
    assert said(done)["arguments"] == ["up"]
    # It is the very package that is released, so that nothing needs to be fetched.
    assert alone.run().stderr == ""


def test_stopping_while_the_package_is_fetched(alone: Alone, tmp_path: Path) -> None:
    """Ctrl-C ends the download too: one that stood still held up every later start."""
    os.mkfifo(tmp_path / "hold")
    begun = tmp_path / "begun"
    alone.tools.script(
        "curl", f"echo $$ >{begun}.new; mv {begun}.new {begun}; read x <{tmp_path}/hold"
    )
    alone.released(f"http://127.0.0.1:1/{alone.wheel.name}#sha256={sha256_of(alone.wheel)}")
    first = alone.begin()
    wait_until(begun.exists)
    fetching = psutil.Process(int(begun.read_text()))
    os.kill(first.pid, signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert "Start again to finish" in errors
    wait_until(lambda: not fetching.is_running())
    assert said(start(alone, GAI_PACKAGE=str(alone.wheel)))["arguments"] == ["up"]


def test_a_checkout_takes_a_named_wheel_too(tmp_path: Path) -> None:
    """GAI_PACKAGE says which package, whatever lies beside start.sh; without it, the checkout."""
    checkout = Checkout(tmp_path / "garage", Tools(tmp_path / "bin"), uv=True)
    wheel = make_wheel(tmp_path / "wheels")
    said(checkout.run(env=checkout.environment(GAI_PACKAGE=str(wheel))))
    assert checkout.builds == 0
    assert list(checkout.venv.glob("lib/*/site-packages/garage_mark.py"))
    said(checkout.run())
    assert checkout.builds == 1
