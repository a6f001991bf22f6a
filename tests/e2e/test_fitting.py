"""A container killed at its memory limit: rootless Podman, a real engine, a whole network."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.e2e.test_sandbox import MODEL, Rig
from tests.parts.guest import BASE, guest
from tests.parts.product import Product
from tests.parts.program import Program
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

MEBI = 1 << 20
PLANNED = ("--context", "8192", "--slots", "4")
LIMIT = 800 * MEBI
"""The engine takes some 870 MiB at 4 x 8192 tokens, 510 at half of that; agent and Podman 150."""


@contextmanager
def memory_limit(size: int) -> Iterator[Path]:
    """Make a cgroup of so many bytes, of whichever version this host has; give its process list.

    On cgroup v1 rootless Podman makes none of its own: what the agent starts stays in the agent's.
    """
    old = Path("/sys/fs/cgroup/memory")
    group = (old if old.is_dir() else Path("/sys/fs/cgroup")) / f"gai-test-{os.getpid()}"
    group.mkdir()
    try:
        names = ["memory.limit_in_bytes"] if old.is_dir() else ["memory.max", "memory.swap.max"]
        for name, value in zip(names, [size, 0], strict=False):
            (group / name).write_text(str(value))
        yield group / "cgroup.procs"
    finally:
        eventually("its processes are gone", lambda: not (group / "cgroup.procs").read_text(), 20)
        group.rmdir()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, debian_archive: Path) -> Iterator[Rig]:
    """A network that takes nodes as they are, a volunteer's user, and the engine's image."""
    folder = tmp_path_factory.mktemp("fitting")
    with ExitStack() as stack:
        user = stack.enter_context(guest(debian_archive))
        product = Product(folder, "--no-node", environment={"GAI_ALLOW_UNSANDBOXED": "true"})
        stack.callback(product.stop)
        product.start()
        user.well(*user.gai("node", "image", "--base", BASE, "--data-dir", user.node))
        yield Rig(product, user)


def test_a_container_killed_at_its_limit_comes_back_smaller_and_serves(rig: Rig) -> None:
    """The kernel kills it, half the context fits, the network is told; the next start knows."""
    user = rig.user
    with memory_limit(LIMIT) as procs, ExitStack() as stack:
        first = ["node", "join", rig.product.url, rig.product.token(), *PLANNED]
        for words in (first, ["node", "run"]):
            argv = [*user.gai(*words, "--data-dir", user.node, "--threads", "1")]
            enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs)]
            inside = [*enter, *user.words(argv)]
            agent = Program("agent", inside, user.home, user.environment)
            stack.callback(agent.stop, 20)
            rig.product.serves(MODEL, 90)
            answer = rig.product.http.chat(MODEL, "Say hello.", max_tokens=8)
            assert answer.json()["choices"][0]["message"]["content"]
            (node,) = rig.product.nodes()
            (served,) = node["models"]
            assert (served["context"], served["slots"]) == (4096, 4)
            shown = json.loads(
                user.well(*user.gai("node", "status", "--json", "--data-dir", user.node))
            )
            assert "because it ran out of memory" in shown["engine"]["smaller"]["en"]
            assert 0 < shown["engine"]["memory"] < LIMIT
            swedish = user.well(
                "env", "LC_ALL=sv_SE.UTF-8", *user.gai("node", "status", "--data-dir", user.node)
            )
            assert "eftersom minnet tog slut" in swedish
            assert agent.stop(30) == 0
    notes = json.loads((user.node / "memory.json").read_text())
    assert [(each["context"], each["slots"]) for each in notes["failed"]] == [(8192, 4)]
    assert [(each["context"], each["slots"]) for each in notes["peaks"]] == [(4096, 4)]
    log = agent.output()
    assert "out_of_memory" not in log, "the second start crashed before it served"
