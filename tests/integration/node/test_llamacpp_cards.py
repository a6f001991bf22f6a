"""llama.cpp on a card: served only from where it was meant to be, by a real server behind it."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.integration.node.conftest import MakeAgent
from tests.integration.node.test_llamacpp import DIGEST, NAME, chat, streamed, weights
from tests.parts.fake_llama_server import SPEAK, StandInLauncher, make_server, tell
from tests.parts.job_caller import Caller, until

from garage_ai.catalog import Offload
from garage_ai.catalog.images import Allowed
from garage_ai.node.engines import devices, launched, llamacpp_setup
from garage_ai.node.engines.llama_server import ServerOptions
from garage_ai.node.engines.llamacpp_cards import LlamaOnCards, PlanAgain
from garage_ai.node.engines.port import Device
from garage_ai.node.errors import CardUnusable, NoImage, NoRoom, NotPossible
from garage_ai.node.fitting.book import FILE, Book
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.machines import OnCards
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.node.preflight.models import CdiSpec
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.setup import check, make_engine, make_launcher
from garage_ai.wire.frames import Head

pytestmark = pytest.mark.anyio

GIB = 1 << 30
GPU = "GPU-5e1f0c2a-0000-4000-8000-000000000001"
PLAN = Offload(
    places=(0,),
    split=(31,),
    of=31,
    context=512,
    slots=2,
    cache_type="f16",
    weights=0,
    cache=0,
    other=0,
    room=0,
)
OPTIONS = ServerOptions(
    weights=weights(),
    name=NAME,
    digest=DIGEST,
    kind="chat",
    threads=1,
    gpus=(GPU,),
    devices=(GPU,),
    plan=PLAN,
)


class Stand:
    """An engine on a card that is not there, and what stands in for its server."""

    def __init__(
        self,
        folder: Path,
        options: ServerOptions = OPTIONS,
        plan_again: PlanAgain | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        self.folder = folder / "server"
        self.launcher = StandInLauncher(make_server(self.folder, says="all-layers"))
        self.engine = LlamaOnCards(
            options,
            run=folder / "run",
            logs=folder / "logs",
            launcher=self.launcher,
            plan_again=plan_again,
            fitting=fitting,
        )
        self.log = folder / "logs" / "engine.log"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """With two slots of 512 tokens, not yet started."""
    return Stand(tmp_path)


async def test_it_answers_with_all_layers_on_the_card(
    stand: Stand, make_agent: MakeAgent, caller: Caller
) -> None:
    """Plain and streamed, and it says what it computes on."""
    await make_agent(stand.engine)
    await caller.ready()
    plain = await caller.call("a1", chat(max_tokens=4)).over()
    assert plain.head == Head(200, "application/json; charset=utf-8")
    assert json.loads(plain.body)["usage"]["completion_tokens"] == 4
    stream = await caller.call("a2", streamed(max_tokens=4), stream=True).over()
    assert stream.body.endswith(b"data: [DONE]\n\n")
    assert stand.engine.device == Device((GPU,), 31, 31)


async def test_the_first_load_of_an_agent_says_how_long_it_will_take(stand: Stand) -> None:
    """By the last good one of this model here: to its owner in words, to gateways in seconds."""
    (stand.folder.parent / "run").mkdir()
    kept = stand.folder.parent / "run" / "llamacpp-load-seconds"
    kept.write_text(f"40.0 {DIGEST}\n")
    told = []
    stand.engine.on_change(lambda: told.append((stand.engine.reason, stand.engine.seconds_left)))
    await stand.engine.start()
    await until(lambda: stand.engine.state == "ready")
    guesses = [left for reason, left in told if reason == "the engine is starting; about 40 s left"]
    assert guesses
    assert all(30 < left <= 40 for left in guesses)
    assert float(kept.read_text().split()[0]) < 30
    await stand.engine.release()
    kept.write_text(f"40.0 sha256:{'0' * 64}\n")
    await stand.engine.stop()
    # Another model's time, and a whole agent later: nothing is guessed.
    again = Stand(stand.folder.parent)
    words = set()
    again.engine.on_change(lambda: words.add(again.engine.reason))
    await again.engine.start()
    await until(lambda: again.engine.state == "ready")
    await again.engine.stop()
    assert words == {"the engine is starting", ""}


async def test_at_work_only_its_errors_are_kept(
    stand: Stand, make_agent: MakeAgent, caller: Caller
) -> None:
    """How it loaded is in the log; what it says of requests is not."""
    await make_agent(stand.engine)
    await caller.ready()
    (stand.folder / SPEAK).touch()
    await until(lambda: "an error" in stand.log.read_text())
    text = stand.log.read_text()
    assert "offloaded 31/31 layers to GPU" in text
    assert "secret" not in text


NOT_SERVED = [
    ("no-card", {}, "found 0 of 1 cards"),
    ("ten-layers", {}, "10 of 31 layers"),
    (
        "no-card",
        {"then": ["cudaMalloc failed: out of memory"], "ends": 1},
        "memory does not suffice.*--context",
    ),
    (
        "no-card",
        {"then": ["0.1 E llama_model_load: error loading model: missing tensor"], "ends": 3},
        "status 3.*missing tensor",
    ),
]


@pytest.mark.parametrize(("says", "more", "why"), NOT_SERVED)
async def test_what_is_not_on_the_card_is_not_served(
    stand: Stand, says: str, more: dict[str, object], why: str
) -> None:
    """It is ended and tried again, and the reason says what to do about it, beside a guess."""
    tell(stand.folder, says=says, **more)
    (stand.folder.parent / "run").mkdir()
    (stand.folder.parent / "run" / "llamacpp-load-seconds").write_text(f"900 {DIGEST}")
    await stand.engine.start()
    try:
        await until(lambda: stand.launcher.started > 1, seconds=30)
        assert stand.engine.state == "loading"
        assert re.search(why, stand.engine.reason), stand.engine.reason
        await until(lambda: "; about 900 s left" in stand.engine.reason, seconds=30)
        assert re.search(why, stand.engine.reason), stand.engine.reason
    finally:
        await stand.engine.stop()


async def test_fewer_layers_are_served_where_that_is_the_plan(tmp_path: Path) -> None:
    """And the status says what it costs."""
    stand = Stand(tmp_path, replace(OPTIONS, plan=replace(PLAN, split=(10,), slowdown=4.2)))
    tell(stand.folder, says="ten-layers")
    await stand.engine.start()
    try:
        await until(lambda: stand.engine.state == "ready", seconds=30)
        assert stand.engine.device == Device((GPU,), 10, 31, 4.2)
    finally:
        await stand.engine.stop()


async def test_each_start_is_planned_by_what_is_free_then(tmp_path: Path) -> None:
    """Where a start fails for memory; and it waits while there is no room at all."""
    plans: list[NoRoom | Offload] = [
        NoRoom("no room", reason="waiting for memory"),
        replace(PLAN, context=1024, slots=1),
    ]

    async def plan_again(_: str) -> tuple[ServerOptions, Fitting]:
        plan = plans.pop(0)
        if isinstance(plan, NoRoom):
            raise plan
        tell(failing.folder, says="all-layers")
        options = replace(OPTIONS, plan=plan)
        return options, Fitting(Book(tmp_path), OnCards(HERE, uuids=options.gpus), "llamacpp")

    failing = Stand(tmp_path, plan_again=plan_again)
    tell(failing.folder, says="no-card", then=["cudaMalloc failed: out of memory"], ends=1)
    reasons: list[str] = []
    failing.engine.on_change(lambda: reasons.append(failing.engine.reason))
    await failing.engine.start()
    try:
        await until(lambda: failing.engine.state == "ready", seconds=30)
        assert not plans
        assert "waiting for memory" in reasons
        (offer,) = failing.engine.offers
        assert (offer.context, offer.slots) == (1024, 1)
        assert failing.launcher.started == 2
    finally:
        await failing.engine.stop()


async def test_a_plan_that_waited_for_a_games_end_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a node that began beside a game keeps to what that left for its whole life."""
    monkeypatch.setattr(launched, "FRESH_SECONDS", -1.0)

    async def plan_again(_: str) -> tuple[ServerOptions, Fitting]:
        options = replace(OPTIONS, plan=replace(PLAN, context=1024))
        return options, Fitting(Book(tmp_path), OnCards(HERE, uuids=options.gpus), "llamacpp")

    stand = Stand(tmp_path, plan_again=plan_again)
    await stand.engine.start()
    try:
        await until(lambda: stand.engine.state == "ready", seconds=30)
        assert [offer.context for offer in stand.engine.offers] == [1024]
    finally:
        await stand.engine.stop()


async def test_what_it_went_on_without_is_no_want_of_memory(tmp_path: Path) -> None:
    """Over cards llama.cpp tries again with smaller buffers; a later crash has other reasons."""
    fitting = Fitting(Book(tmp_path), OnCards(HERE, uuids=(GPU,)), "llamacpp")
    stand = Stand(tmp_path, fitting=fitting)
    without = "0.01.000.000 W ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 9"
    tell(stand.folder, says="all-layers", then=[without])
    await stand.engine.start()
    try:
        await until(lambda: stand.engine.state == "ready")
        (server,) = (pid for pid in stand.engine.pids if pid != stand.engine.pid)
        os.kill(server, signal.SIGSEGV)
        await until(lambda: stand.launcher.started == 2)
    finally:
        await stand.engine.stop()
    assert not (tmp_path / FILE).exists()


async def test_nothing_of_it_is_left(stand: Stand) -> None:
    """The shell in front of it and the server end together."""
    await stand.engine.start()
    await until(lambda: stand.engine.state == "ready", seconds=30)
    processes = [psutil.Process(pid) for pid in stand.engine.pids]
    assert len(processes) == 2
    await stand.engine.stop()
    await until(lambda: not any(map(psutil.Process.is_running, processes)), seconds=20)


CARD = Gpu(name="NVIDIA GeForce RTX 3090", uuid=GPU, total=24 * GIB, free=23 * GIB, compute=(8, 6))
HERE = Gpus(source="nvml", cards=(CARD,), driver="590.44.01", cuda=(13, 1))
REFUSED = [
    ({"sandbox": "none"}, HERE, True, "without a sandbox"),
    ({}, Gpus(problem="Driver/library version mismatch"), True, "mismatch"),
    ({"gpus": ("0",)}, HERE, True, "UUID"),
    ({"engine": "vllm", "sandbox": "none", "gpus": (GPU,)}, HERE, True, "in its sandbox"),
    ({"engine": "vllm", "gpus": ("none",)}, HERE, True, "in its sandbox"),
    ({"engine": "external", "gpus": (GPU,)}, HERE, True, "for llamacpp"),
    ({"engine": "external", "gpu_layers": 3}, HERE, True, "for --engine llamacpp"),
    ({"sandbox": "none", "gpu_layers": 10}, Gpus(), False, "--gpu-layers is for a card"),
]


@pytest.mark.parametrize(("chosen", "gpus", "plugged_in", "words"), REFUSED)
async def test_a_pc_with_a_card_does_not_fall_back_by_itself(
    monkeypatch: pytest.MonkeyPatch,
    chosen: dict[str, object],
    gpus: Gpus,
    plugged_in: bool,
    words: str,
) -> None:
    """Joining stops, and names the word that would take the processor."""
    monkeypatch.setattr(llamacpp_setup, "look_at_cards", lambda: (gpus, plugged_in))
    with pytest.raises(NotPossible, match=words):
        await check(Choice(**chosen))  # type: ignore[arg-type]


async def test_the_owners_word_takes_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a card that is well, and with one that is not."""
    for gpus in (HERE, Gpus(problem="mismatch")):
        monkeypatch.setattr(llamacpp_setup, "look_at_cards", lambda gpus=gpus: (gpus, True))
        await check(Choice(sandbox="none", gpus=("none",)))
        with pytest.raises(CardUnusable):
            await check(Choice(sandbox="none"))


PODMAN_INFO = {
    "host": {
        "cgroupVersion": "v2",
        "cgroupControllers": ["cpu", "memory", "pids"],
        "security": {"rootless": False, "seccompEnabled": True, "seccompProfilePath": "PROFILE"},
    },
    "version": {"Version": "4.9.3"},
}
LISTED = "Available devices:\\n  CUDA0: NVIDIA GeForce RTX 3090 (24124 MiB, 23858 MiB free)\\n"


IMAGE = "sha256:" + "5" * 64


class CardPc:
    """A PC with a card, whose podman is a line of shell: it has the image, and lists `devices`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = NodeFolder(folder / "node")
        self.folder.prepare()
        self.asked = folder / "asked"
        self._bin = folder / "bin"
        self._bin.mkdir()
        profile = folder / "seccomp.json"
        profile.write_text('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}')
        self._info = json.dumps(PODMAN_INFO).replace("PROFILE", str(profile))
        monkeypatch.setenv("PATH", str(self._bin))
        monkeypatch.setattr(llamacpp_setup, "look_at_cards", lambda: (HERE, True))
        monkeypatch.setattr(devices, "read_gpus", lambda: HERE)
        monkeypatch.setattr(devices, "read_cdi", lambda _: self.cdi)
        # As it will be once a digest is known; until then it is pinned at the first pull.
        found = Allowed("host/llamacpp-cuda:1", IMAGE)
        monkeypatch.setattr(llamacpp_setup, "allowed", lambda _: found)
        self.cdi: tuple[CdiSpec, ...] = (CdiSpec("/etc/cdi/nvidia.yaml", "590.44.01", (GPU,)),)
        self.put()

    def put(self, *, devices: str = LISTED, image: str = 'echo \'[{"Id": "1"}]\'') -> None:
        """Make its podman."""
        path = self._bin / "podman"
        path.write_text(
            f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" >> {self.asked}\ncase $1 in\n'
            f"info) cat <<'END'\n{self._info}\nEND\n;;\n"
            f"image) {image};;\npull) echo no route >&2; exit 125;;\n"
            f"run) printf '{devices}';;\nps) ;;\nesac\n"
        )
        path.chmod(0o755)


@pytest.fixture
def pc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CardPc:
    """With one RTX 3090."""
    return CardPc(tmp_path, monkeypatch)


async def test_a_pc_with_a_card_gets_llama_cpps_own_image(pc: CardPc) -> None:
    """By its digest, with the card by its UUID, planned for the memory that is free."""
    launcher = await make_launcher(Choice(), pc.folder, "n1")
    engine = await make_engine(Choice(), "m1", pc.folder, launcher=launcher)
    assert isinstance(launcher, ContainerLauncher)
    assert launcher.image == f"host/llamacpp-cuda@{IMAGE}"
    assert engine.device == Device((GPU,), 31, 31)
    (offer,) = engine.offers
    assert (offer.context, offer.slots) == (8192, 8)
    assert f"--device=nvidia.com/gpu={GPU}" in pc.asked.read_text()


async def test_what_the_owner_said_is_planned(pc: CardPc) -> None:
    """Layers, context and slots as he said."""
    choice = Choice(gpus=(GPU,), gpu_layers=10, context=512, slots=2)
    launcher = await make_launcher(choice, pc.folder, "n1")
    engine = await make_engine(choice, "m1", pc.folder, launcher=launcher)
    assert engine.device is not None
    assert (engine.device.layers, engine.device.of) == (10, 31)
    assert engine.device.slowdown > 1
    assert [(each.context, each.slots) for each in engine.offers] == [(512, 2)]


async def test_a_card_that_the_engine_does_not_see_stops_it(pc: CardPc) -> None:
    """Whatever is wrong with driver, toolkit or description: the engine itself was asked."""
    pc.put(devices="Available devices:\\n  (none)\\n")
    with pytest.raises(CardUnusable, match=r"finds 0 of 1 cards.*gai node doctor"):
        await make_launcher(Choice(), pc.folder, "n1")


async def test_a_pc_whose_containers_know_no_card_stops_it(pc: CardPc) -> None:
    """Podman knows cards by their description only."""
    pc.cdi = ()
    with pytest.raises(CardUnusable, match=r"no CDI description.*nvidia-ctk"):
        await make_launcher(Choice(), pc.folder, "n1")


async def test_a_description_that_this_podman_cannot_read_stops_it(pc: CardPc) -> None:
    """As Podman 4.9 says "unresolvable CDI devices" of what NVIDIA's toolkit writes by now."""
    unread = CdiSpec("/etc/cdi/nvidia.yaml", "590.44.01", (GPU,), gids=True)
    pc.cdi = (unread,)
    with pytest.raises(CardUnusable, match=r"Podman 4\.9\.3 cannot read.*gai node doctor"):
        await make_launcher(Choice(), pc.folder, "n1")
    pc.cdi = (unread, msgspec.structs.replace(unread, gids=False))
    await make_launcher(Choice(), pc.folder, "n1")


async def test_an_image_that_cannot_be_had_stops_it(pc: CardPc) -> None:
    """It is not the processor's image that is taken instead."""
    pc.put(image="exit 1")
    with pytest.raises(NoImage, match=r"llama.cpp's image.*--gpu none"):
        await make_launcher(Choice(), pc.folder, "n1")


async def test_a_model_too_large_for_the_card_is_refused(
    pc: CardPc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how many layers would fit, and what that means."""
    full = msgspec.structs.replace(CARD, free=int(0.98 * GIB))
    gpus = msgspec.structs.replace(HERE, cards=(full,))
    monkeypatch.setattr(llamacpp_setup, "look_at_cards", lambda: (gpus, True))
    choice = Choice(context=8192, slots=32)
    launcher = await make_launcher(choice, pc.folder, "n1")
    with pytest.raises(
        NoRoom, match=r"needs .* GiB.*--gpu-layers \d+ .*several times longer"
    ) as refused:
        await make_engine(choice, "m1", pc.folder, launcher=launcher)
    # Others hold the card: it is waited for.
    assert refused.value.reason.startswith("waiting for memory: ")
