"""vLLM in its sandbox, run for real: on the CPU, rootless, through a whole network."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.test_sandbox import Rig, running_inside
from tests.parts.guest import guest
from tests.parts.product import Product
from tests.parts.real_vllm import NAME, real_vllm
from tests.parts.vllm_image import IMAGE, import_image
from tests.parts.waiting import eventually

from garage_ai.node.sandbox.argv import SHM

# A clean machine installs vLLM first.
pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(900)]

LOAD_SECONDS = 400.0
SECRET = "MARKER-OF-A-PROMPT"
OPTIONS = ("--kv-cache-gib", "1", "--context", "2048")


@pytest.fixture
def rig(tmp_path: Path, debian_archive: Path) -> Iterator[Rig]:
    """A network without nodes, and a user whose podman has an image with vLLM."""
    vllm = real_vllm()
    with ExitStack() as stack:
        user = stack.enter_context(guest(debian_archive))
        # What is mounted here by now, its podman does not see.
        # Not with its modes: whoever made it may have kept it to himself.
        shutil.copytree(vllm.model, user.folder / NAME, copy_function=shutil.copyfile)
        import_image(user, debian_archive, vllm, tmp_path)
        product = Product(tmp_path / "network", "--no-node")
        stack.callback(product.stop)
        product.start()
        rig = Rig(product, user)
        yield rig
        if rig.agent is not None:
            rig.agent.end_all()


def start(rig: Rig, *words: str | Path) -> None:
    """Start the agent as the user; what it says of vLLM is shown if it does not serve."""
    agent = rig.run_agent(*words, *OPTIONS)
    try:
        eventually("a model", lambda: agent.line("serving "), LOAD_SECONDS)
        rig.product.serves(NAME)
    except AssertionError as error:
        log = rig.user.node / "logs" / "engine.log"
        said = log.read_text("utf-8", "replace")[-3000:] if log.exists() else "nothing"
        raise AssertionError(f"{error}\n{agent.tail()}\n{said}") from None


def test_a_real_vllm_answers_from_its_sandbox(rig: Rig) -> None:
    """It answers whole and streamed, the probe gets nowhere, and kill -9 leaves nothing."""
    own = rig.user.gai("node", "image", "--engine", "vllm", "--base", IMAGE)
    assert "vLLM runs from sha256:" in rig.user.well(*own, "--data-dir", rig.user.node)
    # The limits of a rootless container on cgroup v1 do not hold, so it has to be let in.
    token = rig.product.token(bare_allowed=True)
    model = rig.user.folder / NAME
    start(rig, "join", rig.product.url, token, "--engine", "vllm", "--model", model)
    _answers(rig)
    _the_owner_sees_what_runs(rig)
    _a_probe_gets_nowhere(rig)
    _no_prompt_is_in_a_log(rig)
    _nothing_outlives_the_agent(rig, with_client=False)
    # While it loads, too.
    rig.run_agent("run", *OPTIONS)
    eventually("a container", rig.user.containers, 60)
    eventually("what loads in it", lambda: running_inside(rig), 60)
    _nothing_outlives_the_agent(rig, with_client=True)


def _answers(rig: Rig) -> None:
    """The same words whole and streamed, from a node that is fenced in."""
    whole = rig.product.http.chat(NAME, SECRET, max_tokens=16, temperature=0)
    assert whole.status == 200, whole.body
    assert whole.text
    assert whole.headers["x-gai-trust"] == "unverified"
    with rig.product.http.stream(NAME, SECRET, max_tokens=16, temperature=0) as stream:
        ending = stream.rest()
    assert (ending.text, ending.done) == (whole.text, True)
    assert rig.node()["sandbox"] == "podman"


def _the_owner_sees_what_runs(rig: Rig) -> None:
    """`gai node sandbox` shows the very command, and podman what matters of it."""
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--json", "--data-dir", rig.user.node))
    argv = [word for word in json.loads(shown)["argv"] if "garage-ai.agent" not in word]
    assert rig.agent is not None
    family = [each.cmdline() for each in psutil.Process(rig.agent.pid).children(recursive=True)]
    running = next(command for command in family if command[:1] == ["podman"])
    assert [word for word in running if "garage-ai.agent" not in word] == argv
    (container,) = rig.user.containers()
    host: Any = rig.user.inspected(container)["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"]) == ("none", True)
    assert f"size={2 << 30}," in host["Tmpfs"][SHM]
    # Warden, server, core and worker: outside none of them has the owner's id.
    assert len(running_inside(rig)) >= 4


def _a_probe_gets_nowhere(rig: Rig) -> None:
    """All that is shut for llama.cpp is shut for vLLM."""
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--check", "--data-dir", rig.user.node))
    assert "OPEN" not in shown
    assert shown.count("holds") > 30


def _no_prompt_is_in_a_log(rig: Rig) -> None:
    log = (rig.user.node / "logs" / "engine.log").read_text("utf-8", "replace")
    assert "Application startup complete" in log
    assert rig.agent is not None
    assert SECRET not in log + rig.agent.output() + rig.product.story()


def _nothing_outlives_the_agent(rig: Rig, *, with_client: bool) -> None:
    """Kill -9 of the agent, alone or with its podman: all is gone within 30 s, and stays so."""
    assert rig.agent is not None
    family = rig.agent.family()
    clients = [each.pid for each in family if each.name() == "podman"]
    assert clients
    for pid in [rig.agent.pid, *(clients if with_client else [])]:
        os.kill(pid, signal.SIGKILL)
    agent = rig.agent
    eventually("the agent's end", lambda: agent.ended is not None, 20)
    eventually("the container's end", lambda: not rig.user.containers(), 30)
    eventually("its processes' end", lambda: not running_inside(rig), 30)
