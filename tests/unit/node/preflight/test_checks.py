"""The checklist: facts in, findings out."""

import msgspec
import pytest

from garage_ai.cli.preflight_words import CASES, NAMES, sentence
from garage_ai.node.hardware.models import Gpu, Gpus, Pc
from garage_ai.node.preflight.checks import CHECKS, examine, has_card
from garage_ai.node.preflight.container_checks import check_container, program_of
from garage_ai.node.preflight.gpu_checks import check_gpu
from garage_ai.node.preflight.models import CARD as CARD_CHECKS
from garage_ai.node.preflight.models import (
    FIRST,
    NEEDS,
    SANDBOX,
    CdiSpec,
    EngineKind,
    Facts,
    Finding,
    Folder,
    Namespaces,
    Reach,
    Tool,
)

GIB = 1 << 30
CARD = Gpu(
    name="NVIDIA GeForce RTX 3090", uuid="GPU-1", total=24 * GIB, free=23 * GIB, compute=(8, 6)
)
GPUS = Gpus(source="nvml", cards=(CARD,), driver="590.44.01", cuda=(13, 1))
PC = Pc(
    system="Linux",
    distribution="Ubuntu 24.04.3 LTS",
    kernel=(6, 8),
    wsl=False,
    python=(3, 12),
    cpu="AMD Ryzen 7 5800X",
    cores=16,
    memory=32 * GIB,
    memory_free=20 * GIB,
    disk_free=200 * 10**9,
    gpus=GPUS,
)
REACH = Reach(
    gateway="https://g.example",
    round_trip=0.012,
    skew=0.2,
    nats=("tls://g.example:4222", "wss://g.example:4223"),
    nats_open=("tls://g.example:4222",),
)
GOOD = Facts(
    pc=PC,
    folder=Folder("/home/anna/.local/share/garage-ai", exists=True, writable=True),
    user="anna",
    nvidia_plugged_in=True,
    podman=Tool("/usr/bin/podman", (4, 9)),
    cdi=(CdiSpec("/var/run/cdi/nvidia.yaml", "590.44.01"),),
    namespaces=Namespaces(most=127_000, restricted=True),
    subuids=65_536,
    subgids=65_536,
    cgroup="v2",
    controllers=frozenset({"cpu", "memory", "pids"}),
    linger=True,
    reach=REACH,
)


def but(**changes: object) -> Facts:
    return msgspec.structs.replace(GOOD, **changes)


def pc(**changes: object) -> Facts:
    return but(pc=msgspec.structs.replace(PC, **changes))


def gpus(**changes: object) -> Facts:
    return pc(gpus=msgspec.structs.replace(GPUS, **changes))


def card(**changes: object) -> Facts:
    return gpus(cards=(msgspec.structs.replace(CARD, **changes),))


def reach(**changes: object) -> Facts:
    return but(reach=msgspec.structs.replace(REACH, **changes))


def on_docker(major: int, minor: int, **changes: object) -> Facts:
    return but(podman=None, docker=Tool("/usr/bin/docker", (major, minor)), **changes)


PODMAN = Tool("/usr/bin/podman", (4, 9))
DOCKER = Tool("/usr/bin/docker", (28, 2))
ROOTLESS = msgspec.structs.replace(DOCKER, rootless=True)
SOCKET = "unix:///var/run/docker.sock"
NOT_LET = f"permission denied while trying to connect to the Docker daemon socket at {SOCKET}: ..."
NOT_RUNNING = f"Cannot connect to the Docker daemon at {SOCKET}. Is the docker daemon running?"
# As docker 29 says it.
GONE = f"failed to connect to the docker API at {SOCKET}; check if the path is correct and if the "
GONE += "daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory"
THEIRS = "Cannot connect to the Docker daemon at unix:///run/user/1000/docker.sock. Is the docker "
THEIRS += "daemon running?"


def troubled(words: str) -> Facts:
    """Docker alone, which says so."""
    return but(podman=None, docker=msgspec.structs.replace(DOCKER, trouble=words))


GIDS = CdiSpec("/etc/cdi/nvidia.yaml", "590.44.01", gids=True)
REFRESHED = CdiSpec("/var/run/cdi/nvidia.yaml", "590.44.01", gids=True)
NO_UVM = CdiSpec("/etc/cdi/nvidia.yaml", "590.44.01", uvm=False)
WSL = msgspec.structs.replace(PC, wsl=True)
STALE = CdiSpec("/etc/cdi/nvidia.yaml", "570.124.04")
OLD = msgspec.structs.replace(CARD, compute=(6, 1))
NO_GPUS = Gpus()

FOUND: list[tuple[Facts, str, str, str]] = [
    (pc(system="Windows"), "os", "fail", "other"),
    (pc(wsl=True), "os", "warn", "wsl"),
    (pc(container=True), "os", "warn", "container"),
    (pc(kernel=(5, 4)), "os", "warn", "old"),
    (pc(python=(3, 10)), "python", "fail", "old"),
    (pc(python=(3, 15)), "python", "warn", "new"),
    (but(folder=Folder("/d", exists=False, writable=True)), "folder", "ok", "new"),
    (but(folder=Folder("/d", exists=True, writable=False)), "folder", "fail", "not_writable"),
    (but(folder=Folder("/d", True, True, ("/d/node.nk",))), "folder", "fail", "exposed"),
    (but(folder=Folder("/d", True, True, foreign=True)), "folder", "fail", "foreign"),
    (pc(disk_free=10**9), "disk", "fail", "full"),
    (pc(disk_free=10 * 10**9), "disk", "warn", "little"),
    (gpus(cards=(), driver="", problem="mismatch"), "gpu", "fail", "no_driver"),
    (gpus(cards=(), problem="card 0: GPU is lost"), "gpu", "fail", "unfit"),
    (gpus(problem="card 1: GPU is lost"), "gpu", "warn", "some"),
    (
        but(nvidia_plugged_in=False, pc=msgspec.structs.replace(PC, gpus=NO_GPUS)),
        "gpu",
        "fail",
        "none",
    ),
    (
        but(nvidia_plugged_in=False, pc=msgspec.structs.replace(PC, gpus=NO_GPUS, others=("AMD",))),
        "gpu",
        "fail",
        "others",
    ),
    (gpus(cuda=(12, 4)), "driver", "fail", "old"),
    (but(cdi=(CdiSpec("/etc/cdi/x", "590.44.01", ("0", "1")),)), "cdi", "fail", "unnamed"),
    (but(uvm=False), "cdi", "warn", "no_uvm_refreshed"),
    (but(cdi=(NO_UVM,)), "cdi", "fail", "no_uvm"),
    (but(cdi=(NO_UVM, *GOOD.cdi)), "cdi", "ok", "ok"),
    (but(cdi=(NO_UVM,), pc=WSL), "cdi", "ok", "ok"),
    (on_docker(28, 2, uvm=False), "cdi", "warn", "no_uvm_refreshed"),
    (but(cdi=(GIDS,)), "cdi", "fail", "unread"),
    (but(cdi=(GIDS, REFRESHED)), "cdi", "fail", "unread_refreshed"),
    (but(cdi=(STALE, REFRESHED)), "cdi", "fail", "unread_refreshed"),
    (but(cdi=(*GOOD.cdi, GIDS)), "cdi", "ok", "ok"),
    (but(cdi=(GIDS,), podman=Tool("/usr/bin/podman", (5, 1))), "cdi", "ok", "ok"),
    (on_docker(28, 2, cdi=(GIDS,)), "cdi", "ok", "ok"),
    (gpus(cuda=None), "driver", "warn", "unknown"),
    (card(compute=(6, 1)), "compute", "fail", "old"),
    (card(compute=None), "compute", "warn", "unknown"),
    (gpus(cards=(CARD, OLD)), "compute", "warn", "some_old"),
    (card(free=14 * GIB), "vram", "warn", "held"),
    (but(podman=None, docker=Tool("/usr/bin/docker", (28, 1))), "container", "ok", "docker"),
    (but(podman=Tool("/usr/bin/podman", (3, 4))), "container", "fail", "old"),
    (on_docker(19, 3), "container", "fail", "old_docker"),
    (but(podman=None, sandbox="podman"), "container", "fail", "not_there"),
    (but(podman=None), "container", "fail", "none"),
    (but(podman=msgspec.structs.replace(PODMAN, trouble="no")), "container", "fail", "broken"),
    (troubled(NOT_LET), "container", "fail", "not_let"),
    (troubled(NOT_RUNNING), "container", "fail", "not_running"),
    (troubled(GONE), "container", "fail", "not_running"),
    (troubled(THEIRS), "container", "fail", "broken_docker"),
    (but(cdi=()), "cdi", "fail", "none"),
    (on_docker(20, 10, nvidia_hook=True, cdi=()), "cdi", "ok", "toolkit"),
    (on_docker(20, 10), "cdi", "fail", "toolkit_missing"),
    (on_docker(28, 2, cdi=()), "cdi", "fail", "none"),
    (but(cdi=(CdiSpec("/etc/cdi/nvidia.yaml", "570.124.04"),)), "cdi", "fail", "stale"),
    (but(cdi=(CdiSpec("/var/run/cdi/nvidia.yaml", ""),)), "cdi", "ok", "undated"),
    (but(namespaces=Namespaces(most=0)), "userns", "fail", "none"),
    (but(namespaces=Namespaces(cloning=False)), "userns", "fail", "forbidden"),
    (but(podman=Tool("/home/anna/podman", (5, 0))), "userns", "warn", "restricted"),
    (but(subuids=0), "subids", "fail", "none"),
    (but(subgids=1000), "subids", "fail", "few"),
    (but(podman=msgspec.structs.replace(PODMAN, unmapped=True)), "subids", "fail", "unused"),
    (but(subuids=65_534, subgids=65_534), "subids", "ok", "ok"),
    (but(cgroup="hybrid"), "cgroup", "warn", "old"),
    (but(controllers=frozenset({"cpu"})), "cgroup", "warn", "not_given"),
    (on_docker(20, 10, cgroup="hybrid", controllers=frozenset()), "cgroup", "ok", "docker"),
    (but(podman=None, docker=ROOTLESS, cgroup="v1"), "cgroup", "warn", "old"),
    (but(podman=None, docker=ROOTLESS), "cgroup", "ok", "ok"),
    (but(cgroup="hybrid", bounded=True), "cgroup", "ok", "outer"),
    (but(linger=False), "linger", "warn", "off"),
    (reach(skew=60.0), "clock", "warn", "ahead"),
    (reach(skew=-60.0), "clock", "warn", "behind"),
    (reach(skew=7200.0), "clock", "warn", "wrong"),
    (reach(round_trip=None, error="refused"), "gateway", "fail", "away"),
    (reach(nats_open=()), "nats", "fail", "closed"),
]


def of(facts: Facts, check: str) -> Finding:
    """Find it for an engine that cannot do without it, if there is one."""
    engine: EngineKind = "llamacpp" if check in SANDBOX else "vllm"
    return next(each for each in looked(facts, engine) if each.check == check)


def looked(facts: Facts, engine: EngineKind) -> tuple[Finding, ...]:
    return examine(facts, engine, sandbox=facts.sandbox).findings


def test_a_good_pc_has_nothing_to_put_right() -> None:
    """Every check speaks, and all is well."""
    report = examine(GOOD, "vllm")
    assert [each.check for each in report.findings] == list(CHECKS)
    assert {each.state for each in report.findings} == {"ok"}
    assert report.failed == ()


@pytest.mark.parametrize(("facts", "check", "state", "case"), FOUND)
def test_finds(facts: Facts, check: str, state: str, case: str) -> None:
    """One thing that is amiss is found, and named for what it is."""
    finding = of(facts, check)
    assert (finding.state, finding.case) == (state, case)


@pytest.mark.parametrize("language", ["en", "sv"])
def test_every_case_has_its_sentence(language: str) -> None:
    """Whatever a check finds is said, with all places filled, and trouble comes with a way out."""
    cases = {(finding.check, finding.case): finding for finding in examine(GOOD, "vllm").findings}
    for facts, check, _, _ in FOUND:
        finding = of(facts, check)
        cases[finding.check, finding.case] = finding
    for (check, case), finding in cases.items():
        text, remedy = sentence(finding, "sv" if language == "sv" else "en")
        assert text, (check, case)
        assert "{" not in text
        if finding.state == "fail":
            assert remedy, (check, case)
    assert {f"{check}.{case}" for check, case in cases} == set(CASES)


def test_every_check_has_a_name() -> None:
    """And nothing else has."""
    assert set(NAMES) == set(CHECKS)


@pytest.mark.parametrize(("engine", "bare"), [("external", False), ("llamacpp", True)])
def test_a_pc_without_card_and_containers_serves_what_needs_none(
    engine: EngineKind, bare: bool
) -> None:
    """What the chosen engine does not need is told, and keeps nobody from serving."""
    empty = but(
        pc=msgspec.structs.replace(PC, gpus=NO_GPUS),
        nvidia_plugged_in=False,
        podman=None,
        cdi=(),
        subuids=0,
        cgroup="v1",
    )
    report = examine(empty, engine, sandbox="none" if bare else "auto")
    assert report.failed == ()
    assert {each.check for each in report.findings if each.state == "warn"} >= {"gpu", "container"}
    assert {each.check for each in examine(empty, "vllm", sandbox="none").failed} == {"gpu"}
    fenced = {each.check for each in examine(empty, "vllm").failed}
    assert fenced == {"gpu", "container", "subids"}
    assert {each.check for each in examine(empty, "llamacpp").failed} == {"container", "subids"}


def test_only_what_is_wanted_is_checked() -> None:
    """Before a node is enrolled, only what its engine cannot do without."""
    report = examine(GOOD, "external", NEEDS["external"])
    assert [each.check for each in report.findings] == ["os", "python", "folder", "gateway", "nats"]


def test_root_needs_no_ids_and_no_namespaces() -> None:
    """Rootful containers are not held back by what ordinary users lack."""
    report = examine(but(root=True, subuids=0, controllers=frozenset(), linger=False), "vllm")
    assert report.failed == ()
    assert not {"userns", "subids", "linger"} & {each.check for each in report.findings}


ON_A_CARD = [
    (GOOD, set()),
    (gpus(cuda=(12, 8)), set()),
    (gpus(cuda=(12, 4)), {"driver"}),
    (card(compute=(6, 1)), set()),
    (card(compute=(5, 2)), {"compute"}),
    (gpus(cards=(), driver="", problem="mismatch"), {"gpu"}),
    (gpus(cards=(), problem="card 0: GPU is lost"), {"gpu"}),
    (gpus(problem="card 1: GPU is lost"), set()),
    (but(cdi=()), {"cdi"}),
    (but(pc=msgspec.structs.replace(PC, gpus=NO_GPUS), nvidia_plugged_in=False), set()),
]


@pytest.mark.parametrize(("facts", "failed"), ON_A_CARD)
def test_llamacpp_needs_a_card_to_be_well_where_there_is_one(
    facts: Facts, failed: set[str]
) -> None:
    """With the limits of its own image; and nothing of it where its owner wants the processor."""
    report = examine(facts, "llamacpp", card=True)
    assert {each.check for each in report.failed} == failed
    assert examine(facts, "llamacpp").failed == ()


@pytest.mark.parametrize(("facts", "failed"), ON_A_CARD)
def test_vllm_needs_a_card_to_be_well_where_there_is_one(facts: Facts, failed: set[str]) -> None:
    """With its own, newer limits; and one where there is none is for its set-up to find out."""
    newer = {"driver"} if facts.pc.gpus.cuda == (12, 8) else set()
    older = {"compute"} if any(each.compute == (6, 1) for each in facts.pc.gpus.cards) else set()
    wanted = CARD_CHECKS if has_card(facts) else FIRST
    assert {each.check for each in examine(facts, "vllm", wanted, card=True).failed} == (
        failed | newer | older
    )


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
def test_an_engine_without_a_sandbox_needs_no_cdi(engine: EngineKind) -> None:
    """It gets at the card as any program does, and was built for what it was built for."""
    facts = but(cdi=(), pc=gpus(cuda=(12, 4)).pc)
    report = examine(facts, engine, sandbox="none", card=True)
    assert report.failed == ()
    assert {"cdi", "driver"} <= {each.check for each in report.findings if each.state == "warn"}
    assert {each.check for each in examine(facts, engine, card=True).failed} == {"cdi", "driver"}


def test_an_image_of_the_owners_own_may_be_for_an_older_driver() -> None:
    """So its driver is advice; with the official one it is not."""
    facts = gpus(cuda=(12, 4))
    assert examine(facts, "vllm", card=True, own=True).failed == ()
    assert {each.check for each in examine(facts, "vllm", card=True).failed} == {"driver"}


def test_where_docker_runs_nothing_is_asked_of_rootless_podman() -> None:
    """Neither ids nor namespaces of the user's, nor what systemd lets him limit."""
    lacking = {"subuids": 0, "namespaces": Namespaces(most=0), "controllers": frozenset()}
    report = examine(on_docker(20, 10, nvidia_hook=True, cgroup="v1", **lacking), "vllm")
    assert report.failed == ()
    assert not {"userns", "subids"} & {each.check for each in report.findings}
    assert {each.state for each in report.findings} == {"ok"}


@pytest.mark.parametrize(
    ("sandbox", "podman", "docker", "program"),
    [
        ("auto", (4, 9), (28, 1), "podman"),
        ("auto", (3, 4), (28, 1), "docker"),
        ("auto", (3, 4), (19, 3), None),
        ("auto", (3, 4), None, None),
        ("docker", (4, 9), (28, 1), "docker"),
        ("docker", (4, 9), None, None),
        ("podman", (3, 4), (28, 1), None),
        ("none", (4, 9), None, "podman"),
    ],
)
def test_which_program_runs_goes_by_versions_and_by_the_owners_choice(
    sandbox: str, podman: tuple[int, int], docker: tuple[int, int] | None, program: str | None
) -> None:
    """As the sandbox itself decides: Podman first, if it is new enough and let."""
    known = None if docker is None else Tool("/usr/bin/docker", docker)
    facts = but(sandbox=sandbox, podman=Tool("/usr/bin/podman", podman), docker=known)
    assert program_of(facts) == program
    found = check_container(facts)
    assert (found.state == "ok", found.case == program) == (program is not None,) * 2


def test_what_does_not_work_gives_way_to_what_does() -> None:
    """As the sandbox takes it; of one too old and one in trouble, the second is nearer to it."""
    broken = msgspec.structs.replace(PODMAN, trouble="no")
    assert program_of(but(podman=broken, docker=DOCKER)) == "docker"
    idless = msgspec.structs.replace(PODMAN, unmapped=True)
    assert program_of(but(podman=idless, docker=DOCKER)) == "docker"
    assert program_of(but(podman=idless)) == "podman"
    assert program_of(but(podman=broken, docker=DOCKER, sandbox="podman")) is None
    older = msgspec.structs.replace(PODMAN, version=(3, 4))
    facts = msgspec.structs.replace(troubled(NOT_LET), podman=older)
    assert check_container(facts).case == "not_let"


def test_docker_beside_wsl_may_have_a_toolkit_that_nobody_sees() -> None:
    """Docker Desktop brings its own, so that this is a warning there."""
    windows = msgspec.structs.replace(PC, wsl=True)
    for version in ((27, 5), (28, 2)):
        assert of(on_docker(*version, pc=windows, cdi=()), "cdi").state == "warn"


def test_an_older_docker_needs_no_cdi() -> None:
    """It has --gpus, and NVIDIA's hook for it."""
    facts = on_docker(28, 1, cdi=(), nvidia_hook=True)
    assert of(facts, "cdi").case == "toolkit"


def test_a_pc_that_is_not_enrolled_has_no_network_to_reach() -> None:
    """Nothing is said of a gateway nobody has named."""
    found = {each.check for each in examine(but(reach=None), "vllm").findings}
    assert not {"clock", "gateway", "nats"} & found


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090 (GPU-1, 1.00 x RTX 3090)"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090 (GPU-1, 1.08 x RTX 3090)"),
        ("Voodoo 3", "Voodoo 3 (GPU-1)"),
    ],
)
def test_a_card_is_shown_with_its_class(name: str, shown: str) -> None:
    """By published bandwidth; one that is not in the table has none. --gpu takes its UUID."""
    found = check_gpu(card(name=name))
    assert found.values["names"] == shown
