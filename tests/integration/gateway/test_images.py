"""`/api/v1/images`: what nodes run, and what an administrator says of it."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.gateway.test_coordination import api, told
from tests.parts.edge import Edge
from tests.parts.played_network import NODE, node_view

from garage_ai.network.admission import SANDBOX_NEEDED, ImageList
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import EngineImage

pytestmark = pytest.mark.anyio

PULLED = EngineImage("sha256:" + "9" * 64)
BUILT = EngineImage("sha256:" + "1" * 64, "sha256:" + "2" * 64, "debian@sha256:" + "3" * 64)


def running(edge: Edge) -> None:
    """Let one node run an image that was pulled, and another one that was built."""
    edge.network.others += [
        replace(node_view("joining"), id=NodeId("npulled"), image=PULLED, image_state="pending"),
        replace(node_view("ready"), id=NodeId("nbuilt"), image=BUILT, image_state="built"),
    ]


async def listed(edge: Edge) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = told(await api(edge, "GET", "/images"))["data"]
    return data


async def test_what_waits_is_listed_first(edge: Edge) -> None:
    """An image that is run and not known yet, before those that need nobody's word."""
    running(edge)
    first, second = await listed(edge)
    assert (first["digest"], first["state"], first["nodes"]) == (
        PULLED.digest,
        "pending",
        ["npulled"],
    )
    assert (second["state"], second["content"], second["base"]) == (
        "built",
        BUILT.content,
        BUILT.base,
    )


async def test_an_administrator_decides_and_changes_his_mind(edge: Edge) -> None:
    """The network hears of each decision at once; what was noted stays until it is said anew."""
    running(edge)
    path = f"/images/{PULLED.digest}"
    approved = told(await api(edge, "POST", f"{path}/approve", {"note": " llama.cpp b1234 "}))
    assert (approved["state"], approved["note"], approved["nodes"]) == (
        "approved",
        "llama.cpp b1234",
        ["npulled"],
    )
    assert edge.network.images.state(PULLED) == "approved"
    revoked = told(await api(edge, "POST", f"{path}/revoke"))
    assert (revoked["state"], revoked["note"]) == ("revoked", "llama.cpp b1234")
    assert edge.network.images.state(PULLED) == "revoked"
    [kept] = [each for each in await listed(edge) if each["decided_at"] is not None]
    assert kept["state"] == "revoked"


async def test_what_nobody_runs_can_be_decided_about(edge: Edge) -> None:
    """A base or a content as well as an image: before the first node has it."""
    digest = "sha256:" + "5" * 64
    revoked = told(await api(edge, "POST", f"/images/{digest}/revoke", {"note": ""}))
    assert (revoked["nodes"], revoked["note"]) == ([], "")


@pytest.mark.parametrize("digest", ["sha256:9", "debian", "sha256:" + "A" * 64, "9" * 64])
async def test_only_a_digest_is_an_image(edge: Edge, digest: str) -> None:
    """A name that may stand for other bytes tomorrow is not taken."""
    answer = await api(edge, "POST", f"/images/{digest}/approve")
    assert told(answer, 400)["error"]["code"] == "invalid_value"


@pytest.mark.parametrize("note", ["x" * 201, "a\nb"])
async def test_a_note_is_one_line(edge: Edge, note: str) -> None:
    """It is shown in a table."""
    answer = await api(edge, "POST", f"/images/{PULLED.digest}/approve", {"note": note})
    assert answer.status == 400
    assert edge.network.images == ImageList()


async def test_only_for_administrators(edge: Edge) -> None:
    """A user's key neither sees nor decides."""
    for method, path in (("GET", ""), ("POST", f"/{PULLED.digest}/approve")):
        answer = await api(
            edge, method, f"/images{path}", authorization=f"Bearer {edge.user}", key=False
        )
        assert answer.status == 403


async def test_a_node_is_shown_with_its_image_and_why_it_gets_no_work(edge: Edge) -> None:
    """Stable codes for programs, a sentence for people, null where all is well."""
    edge.network.others.append(
        replace(
            node_view("joining"),
            id=NodeId("nbare"),
            image=BUILT,
            image_state="built",
            refused=SANDBOX_NEEDED,
        )
    )
    answer = told(await api(edge, "GET", "/nodes/nbare"))
    assert answer["refused"]["code"] == "sandbox_needed"
    assert answer["image"] == {
        "digest": BUILT.digest,
        "content": BUILT.content,
        "base": BUILT.base,
    }
    well = told(await api(edge, "GET", f"/nodes/{NODE}"))
    assert (well["refused"], well["image"], well["image_state"]) == (None, None, "unknown")
