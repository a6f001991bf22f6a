"""Two rigs that run one model together, with a server that stands in for vLLM."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.parts import fake_vllm
from tests.parts.job_caller import until
from tests.parts.parties import DIGEST, QUICK, A, B, Party, free_places

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import SOCKET, BareLauncher, OnLine, Startable
from garage_ai.node.engines.link import socket_path
from garage_ai.node.engines.port import Answer
from garage_ai.node.errors import EngineLost
from garage_ai.node.group import link as link_module
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Measured, Member, Wished
from garage_ai.node.group.planning import Division, evenly
from garage_ai.node.group.view import Grouped, GroupView
from garage_ai.node.logs import BoundedLog
from garage_ai.wire.gangs import read_document, signed_text
from garage_ai.wire.identity import IdentityMissing
from garage_ai.wire.nkey import KeyPair, Role, verify

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Fickle(BareLauncher):
    """Fails as nobody has foreseen, while it is broken."""

    broken = True

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        if self.broken:
            raise ZeroDivisionError
        return await super().launch(what, folder, log, on_line)


@pytest.fixture
async def parties(tmp_path: Path) -> AsyncIterator[tuple[Party, Party]]:
    """Two rigs, of which none lends yet."""
    places = free_places()
    wishes = {A: Wished(tensor=2), B: Wished(context=256, tensor=2)}
    one, other = (Party(tmp_path / me, me, places, evenly, wish=wishes[me]) for me in wishes)
    yield one, other
    await asyncio.gather(one.engine.stop(), other.engine.stop())


@pytest.mark.timeout(120)
async def test_two_rigs_are_one_node(parties: tuple[Party, Party]) -> None:
    """One answers for both; when a part dies both are freed, and a later gang answers again."""
    one, other = parties
    await one.engine.start()
    await until(lambda: "2 rigs are needed, and 1 are there" in one.engine.reason, seconds=20)
    await other.engine.start()
    await until(lambda: one.engine.state == "ready", seconds=40)
    (offer,) = one.engine.offers
    assert other.engine.offers == ()
    assert other.engine.reason.startswith("grouped: it computes for a")
    answer = await one.engine.ask("chat", b'{"messages":[]}', offer=offer, stream=False)
    assert answer.status == 200
    answer.close()
    with pytest.raises(EngineLost):
        await other.engine.ask("chat", b"{}", offer=offer, stream=False)

    await until(lambda: other.has_run, seconds=40)
    assert [one.said("--node-rank"), other.said("--node-rank")] == ["0", "1"]
    assert ("--headless" in one.argv, "--headless" in other.argv) == (False, True)
    for party in parties:
        assert party.said("--tensor-parallel-size") == "2"
        assert party.said("--nnodes") == "2"
        # One owner's wish holds for both, as does how numbers are kept.
        assert (party.said("--max-model-len"), party.said("--dtype")) == ("256", "bfloat16")
        assert party.said("--master-addr") == "10.213.0.1"
    told = other.environment
    assert (told["VLLM_HOST_IP"], told["GLOO_SOCKET_IFNAME"]) == ("10.213.0.2", "gaib")
    (reached,) = one.tunnel.admitted[-1]
    assert reached == other.tunnel.end
    (reached,) = other.tunnel.admitted[-1]
    assert reached == one.tunnel.end

    await until(lambda: all(read_document(one.engine.shares())[1].signatures), seconds=20)
    terms, document = read_document(one.engine.shares())
    assert (terms.leader, terms.digest) == (A, DIGEST)
    assert [(rig.node, rig.parts) for rig in terms.rigs] == [(A, 1), (B, 1)]
    for party, signature in zip(parties, document.signatures, strict=True):
        verify(party.key.public, Role.USER, signed_text(document.terms), signature)
    assert other.engine.shares() == b""
    other.key = KeyPair.generate(Role.USER)
    await until(lambda: read_document(one.engine.shares())[1] != document, seconds=30)
    renewed = read_document(one.engine.shares())[1]
    verify(other.key.public, Role.USER, signed_text(document.terms), renewed.signatures[1])

    view = one.engine.view()
    assert isinstance(one.engine, Grouped)
    assert msgspec.json.decode(msgspec.json.encode(view), type=GroupView) == view
    assert (view.phase, [rig.node for rig in view.members]) == ("serving", [A, B])
    assert [link.node for link in view.links] == [B]
    first = view.epoch
    await other.engine.release()
    assert not other.engine.pids
    assert other.tunnel.admitted[-1] == []
    await until(lambda: not one.engine.pids and one.engine.offers == (), seconds=20)
    await until(lambda: one.tunnel.admitted[-1] == [], seconds=20)
    await other.engine.start()
    await until(lambda: one.engine.state == "ready", seconds=60)
    assert one.engine.view().epoch > first


class Unreadable(KeyPair):
    """A key that is gone."""

    def sign(self, message: bytes) -> bytes:
        raise IdentityMissing("its file cannot be read")


@pytest.mark.timeout(120)
async def test_a_rig_has_agreed_to_nothing_that_it_did_not_sign(
    parties: tuple[Party, Party],
) -> None:
    """Neither by what it signed of an earlier gang, nor once its key cannot be read."""
    one, other = parties
    await asyncio.gather(one.engine.start(), other.engine.start())

    def agreed() -> list[bool]:
        return [bool(member.agreed) for member in one.engine.view().members]

    await until(lambda: agreed() == [True, True], seconds=60)
    one.key = Unreadable.generate(Role.USER)
    await until(lambda: agreed() == [False, True], seconds=30)
    first = one.engine.view().epoch
    other.key = Unreadable.generate(Role.USER)
    await other.engine.release()
    await other.engine.start()
    await until(lambda: one.engine.view().epoch > first, seconds=60)
    await until(lambda: one.engine.state == "ready", seconds=60)
    assert agreed() == [False, False]
    assert not any(read_document(one.engine.shares())[1].signatures)


@pytest.mark.timeout(120)
async def test_a_rig_taken_back_before_its_part_runs(parties: tuple[Party, Party]) -> None:
    """Nothing is started for an owner who has taken his PC back while the tunnel was made ready."""
    one, other = parties
    other.tunnel.open.clear()
    await asyncio.gather(one.engine.start(), other.engine.start())
    await until(lambda: bool(other.tunnel.admitted), seconds=40)
    back = asyncio.create_task(other.engine.release())
    await until(lambda: other.engine.view().phase == "ending", seconds=20)
    other.tunnel.open.set()
    async with asyncio.timeout(20):
        await back
    assert not other.run.exists()
    assert other.tunnel.admitted[-1] == []


@pytest.mark.timeout(120)
async def test_a_gang_that_is_refused_at_its_start_lets_nobody_be_reached(
    parties: tuple[Party, Party],
) -> None:
    """Neither where the tunnel could not be set up, though half of it may be, nor at the others."""
    one, other = parties
    other.tunnel.refuses = True
    await asyncio.gather(one.engine.start(), other.engine.start())
    for party in parties:
        await until(lambda party=party: [] in party.tunnel.admitted, seconds=40)  # type: ignore[misc]
    assert len(other.tunnel.admitted[0]) == 1
    assert not other.run.exists()


@pytest.mark.timeout(60)
async def test_a_gang_of_one_has_its_pipeline(tmp_path: Path) -> None:
    """Without the other rigs' ways, the model is still divided as the planner said."""
    piped = Division((A,), tensor=1, pipeline=2, layers=(5, 3))
    party = Party(tmp_path, A, free_places(), lambda _: piped)
    await party.engine.start()
    try:
        await until(lambda: party.engine.state == "ready", seconds=40)
        assert party.said("--pipeline-parallel-size") == "2"
        assert "--nnodes" not in party.argv
        assert party.environment["VLLM_PP_LAYER_PARTITION"] == "5,3"
    finally:
        await party.engine.stop()


@pytest.mark.timeout(60)
async def test_a_rig_that_nobody_hears_serves_alone(tmp_path: Path) -> None:
    """Where it can; else the owner reads that it has failed, and why."""
    places = free_places()
    callers: list[asyncio.StreamWriter] = []
    deaf = await asyncio.start_server(lambda _, writer: callers.append(writer), *places[0])
    party = Party(tmp_path / "one", A, places, evenly)
    pair = Party(tmp_path / "two", A, places, evenly, wish=Wished(tensor=2))
    try:
        await party.engine.start()
        await until(lambda: party.engine.state == "ready", seconds=40)
        assert (party.engine.reason, len(party.engine.offers)) == ("", 1)
        await pair.engine.start()
        await until(lambda: pair.engine.state == "failed", seconds=40)
        assert "cannot be heard" in pair.engine.reason
        assert party.engine.state == "ready"
    finally:
        deaf.close()
        await asyncio.gather(party.engine.stop(), pair.engine.stop())
        for each in callers:
            each.close()
            await each.wait_closed()


@pytest.mark.timeout(60)
async def test_a_part_that_breaks_as_nobody_foresaw_ends_its_gang(tmp_path: Path) -> None:
    """It does not wait for ever, lets go of the rig, and is tried again."""
    launcher = Fickle()
    party = Party(tmp_path, A, free_places(), evenly, launcher=launcher)
    await party.engine.start()
    try:
        await until(lambda: "the agent failed" in party.engine.reason, seconds=20)
        first = party.engine.view().epoch
        async with asyncio.timeout(20):
            await party.engine.release()
        launcher.broken = False
        await party.engine.start()
        await until(lambda: party.engine.state == "ready", seconds=40)
        assert party.engine.view().epoch > first
    finally:
        await party.engine.stop()


@pytest.mark.timeout(120)
async def test_a_way_that_broke_is_planned_with_once_it_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rig may come back over another cable: no plan is made of what the last one gave."""
    gbit = 9.4
    monkeypatch.setattr(link_module, "Measured", lambda node, *_: Measured(node, 0.3, gbit))
    planned: list[dict[str, list[float]]] = []

    def divide(free: tuple[Member, ...]) -> Refusal:
        planned.append({rig.node: [way.gbit for way in rig.links] for rig in free})
        return Refusal("not today")

    places = free_places()
    pair = [Party(tmp_path / me, me, places, divide) for me in (A, B)]
    try:
        await asyncio.gather(*(party.engine.start() for party in pair))
        await until(lambda: {A: [9.4], B: [9.4]} in planned, seconds=40)
        gbit = 0.94
        planned.clear()
        pair[0].engine._rigs._links[B].close()
        await until(lambda: {A: [0.94], B: [0.94]} in planned, seconds=40)
        assert not [each for each in planned if len(each) > 1 and [9.4] in each.values()]
    finally:
        await asyncio.gather(*(party.engine.stop() for party in pair))


STALL = replace(QUICK, stall=1.0)


async def told(party: Party, path: str, body: bytes = b"") -> bytes:
    """Say something to the server in vLLM's place, behind the agent's back."""
    folder = os.open(party.run, os.O_PATH)
    try:
        reader, writer = await asyncio.open_unix_connection(socket_path(folder, SOCKET))
    finally:
        os.close(folder)
    head = f"POST {path} HTTP/1.1\r\nHost: e\r\nConnection: close\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    return answer


@asynccontextmanager
async def serving(tmp_path: Path, **mock: object) -> AsyncIterator[Party]:
    """Let a gang of two serve, and give who leads it."""
    places = free_places()
    wish = Wished(tensor=2)
    pair = [Party(tmp_path / me, me, places, evenly, wish=wish, patience=STALL) for me in (A, B)]
    for party in pair:
        fake_vllm.tell(party.vllm, mock={"chunks": 4} | mock)
    try:
        await asyncio.gather(*(party.engine.start() for party in pair))
        await until(lambda: pair[0].engine.state == "ready", seconds=60)
        yield pair[0]
    finally:
        await asyncio.gather(*(party.engine.stop() for party in pair))


async def asked(party: Party, tokens: int) -> Answer:
    """Ask for a stream of so many tokens."""
    (offer,) = party.engine.offers
    body = f'{{"messages":[],"stream":true,"max_tokens":{tokens}}}'.encode()
    return await party.engine.ask("chat", body, offer=offer, stream=True)


async def read_all(answer: Answer) -> None:
    """Read an answer to its end."""
    while not answer.at_end:
        await answer.read()


@pytest.mark.timeout(180)
async def test_a_gang_that_stands_still_is_ended(tmp_path: Path) -> None:
    """A rank that hangs ends no process: the others wait for it, as does who asked. The cards are
    freed, the reason is told, and a later gang answers."""
    async with serving(tmp_path, stall_after=10) as leader:
        first = leader.engine.view().epoch
        answer = await asked(leader, 20)
        await until(lambda: "vLLM has computed nothing for 1 s" in leader.engine.reason, seconds=20)
        with pytest.raises(EngineLost):
            await read_all(answer)
        answer.close()
        await until(lambda: leader.engine.state == "ready", seconds=60)
        assert leader.engine.view().epoch > first


@pytest.mark.timeout(120)
async def test_a_slow_gang_is_left_to_its_work(tmp_path: Path) -> None:
    """Each step counts, however long the whole answer takes."""
    async with serving(tmp_path, chunk_delay=0.3) as leader:
        first = leader.engine.view().epoch
        answer = await asked(leader, 12)
        await read_all(answer)
        answer.close()
        assert (leader.engine.state, leader.engine.view().epoch) == ("ready", first)


@pytest.mark.timeout(120)
async def test_a_gang_that_says_it_is_idle_is_asked_for_a_token(tmp_path: Path) -> None:
    """Also while an answer is open: a gang cut off before its first step counts no request."""
    async with serving(tmp_path) as leader:
        first = leader.engine.view().epoch
        unread = await asked(leader, 4)
        try:
            await asyncio.sleep(3 * QUICK.idle)
            assert leader.engine.view().epoch == first
            assert b" 200 " in await told(leader, "/mock/options", b'{"stall_after":0}')
            await until(lambda: "no answer within 1 s" in leader.engine.reason, seconds=30)
        finally:
            unread.close()


@pytest.mark.timeout(120)
async def test_a_rig_that_computes_alone_takes_its_time(tmp_path: Path) -> None:
    """Nobody else keeps it waiting, and a processor may need long for one step."""
    party = Party(tmp_path, A, free_places(), evenly, patience=STALL)
    fake_vllm.tell(party.vllm, mock={"chunks": 4, "stall_after": 10})
    await party.engine.start()
    try:
        await until(lambda: party.engine.state == "ready", seconds=40)
        answer = await asked(party, 20)
        await asyncio.sleep(3 * STALL.stall)
        assert party.engine.state == "ready"
        answer.close()
    finally:
        await party.engine.stop()
