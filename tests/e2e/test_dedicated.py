"""A batch in a container of its own, run for real: rootless Podman, a real engine, a whole network.

`gai up`'s own node answers the chats; the volunteer's is the one that makes the container.
"""

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai.types import Batch
from tests.parts.guest import BASE, Guest, guest
from tests.parts.product import Product
from tests.parts.program import Program
from tests.parts.waiting import InVain, eventually

from garage_ai.node.sandbox.containers import JOB_LABEL

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "smollm2-135m-instruct"


@dataclass
class Rig:
    """A network with a node of its own, and a volunteer's beside it."""

    product: Product
    user: Guest
    agent: Program

    @property
    def node(self) -> dict[str, Any]:
        """Show the volunteer's node as an administrator sees it."""
        return next(each for each in self.product.nodes() if each["sandbox"] == "podman")

    def jobs(self) -> dict[str, str]:
        """Name the job of each container of the user; empty for the engine that is everybody's."""
        found = {}
        for container in self.user.containers():
            shown = self.user.ask("podman", "inspect", container)
            if shown.returncode == 0:  # it may be gone by now
                labels = json.loads(shown.stdout)[0]["Config"]["Labels"] or {}
                found[container] = labels.get(JOB_LABEL, "")
        return found

    def run_agent(self, *words: str | Path) -> None:
        """Start the agent as the user."""
        options = ["--data-dir", str(self.user.node), "--threads", "1", "--slots", "2"]
        self.agent = self.user.start("agent", *self.user.gai("node", *words, *options))

    def shared(self) -> str:
        """Wait until the volunteer's node serves everybody, and name its one container."""
        eventually("the node", lambda: self.node["state"] == "ready", 120)
        return eventually("its container", lambda: only_shared(self.jobs()), 60)[0]

    def submit(self, items: int, max_tokens: int) -> Batch:
        """Submit a batch that is to have an engine of its own."""
        lines = [
            {
                "custom_id": f"r{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": f"Count from {number}."}],
                    "max_tokens": max_tokens,
                },
            }
            for number in range(items)
        ]
        data = io.BytesIO(b"\n".join(json.dumps(line).encode() for line in lines))
        with self.product.client() as client:
            file = client.files.create(file=("in.jsonl", data), purpose="batch")
            return client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"isolation": "dedicated"},
            )

    def cancel(self, batch: Batch) -> None:
        """Cancel a batch."""
        with self.product.client() as client:
            client.batches.cancel(batch.id)

    def container_of(self, batch: Batch) -> str:
        """Wait for the container that is made for a batch."""
        try:
            return eventually(
                "its container",
                lambda: next((name for name, job in self.jobs().items() if job == batch.id), ""),
                180,
            )
        except InVain as error:
            raise InVain(f"{error}\n{self.agent.tail()}\n{self.product.story()}") from None


def only_shared(jobs: dict[str, str]) -> list[str]:
    """Give the one container that is everybody's, if there is no other."""
    return list(jobs) if list(jobs.values()) == [""] else []


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, debian_archive: Path) -> Iterator[Rig]:
    """Start the network and let the volunteer's node join and be admitted."""
    folder = tmp_path_factory.mktemp("dedicated")
    with ExitStack() as stack:
        user = stack.enter_context(guest(debian_archive))
        product = Product(folder)
        stack.callback(product.stop)
        product.start()
        user.well(*user.gai("node", "image", "--base", BASE, "--data-dir", user.node))
        options = ["--data-dir", str(user.node), "--threads", "1", "--slots", "2"]
        join = user.gai("node", "join", product.url, product.token(), *options)
        made = Rig(product, user, user.start("agent", *join))
        stack.callback(lambda: made.agent.stop(20))
        eventually(
            "the node",
            lambda: any(each["sandbox"] == "podman" for each in product.nodes()),
            120,
        )
        product.http.ask("POST", f"/api/v1/nodes/{made.node['id']}/admit", {})
        yield made


def test_a_batch_has_a_container_that_was_not_there_and_is_not_there_after(rig: Rig) -> None:
    """All its answers come from it; chats meanwhile are answered, and never by that node."""
    product, before = rig.product, rig.shared()
    batch = rig.submit(items=8, max_tokens=120)
    own = rig.container_of(batch)
    assert own != before
    assert before not in rig.jobs()
    node, chats = rig.node["id"], []
    with product.client() as client:
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            answer = product.http.chat(MODEL, max_tokens=1)
            assert answer.status == 200
            chats.append(answer.headers["x-gai-node"])
            batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts and batch.request_counts.completed) == (
        "completed",
        8,
    )
    assert chats
    assert node not in chats
    items = [each for each in product.records() if each["request_id"].startswith(batch.id)]
    assert [each["node"] for each in items] == [node] * 8
    after = rig.shared()
    assert after not in (before, own)


def test_its_owner_and_its_user_see_it(rig: Rig) -> None:
    """`gai node status` names the job, and the batch the node; a cancellation ends both."""
    rig.shared()
    batch = rig.submit(items=40, max_tokens=400)
    rig.container_of(batch)
    shown = rig.user.well(*rig.user.gai("node", "status", "--json", "--data-dir", rig.user.node))
    assert json.loads(shown)["job"] == batch.id
    told = rig.product.gai("batch", "get", batch.id)["gai"]["dedicated"]
    assert told["nodes"] == [rig.node["id"]]
    rig.cancel(batch)
    rig.shared()


def test_a_kill_leaves_no_container(rig: Rig) -> None:
    """Kill -9 of the agent: its job's container is gone within 30 s, and none at the next start."""
    rig.shared()
    batch = rig.submit(items=40, max_tokens=400)
    own = rig.container_of(batch)
    os.kill(rig.agent.pid, signal.SIGKILL)
    rig.agent.process.wait(30)
    eventually("the container's end", lambda: own not in rig.user.containers(), 30)
    rig.cancel(batch)
    rig.run_agent("run")
    assert rig.shared() != own
    assert rig.agent.stop(20) == 0
