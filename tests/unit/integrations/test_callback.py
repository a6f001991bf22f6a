"""The file that runs inside LiteLLM: what it says of calls, and that it loses none."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable
from contextlib import closing
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from garage_ai.gateway.app import MAX_CALLS_BODY
from garage_ai.integrations.litellm import callback
from garage_ai.integrations.litellm.callback import GarageAi, Gateway, Reporter, Spool, ended

RECORDED = Path(__file__).parents[2] / "recorded" / "litellm"


def recorded(name: str) -> dict[str, Any]:
    """Describe a recorded event."""
    event = json.loads((RECORDED / f"{name}.json").read_text())
    return ended(event["standard_logging_object"], failed=event["event"] == "failure")


class PlayedGateway(Gateway):
    """A gateway that remembers, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__("http://gateway/v1/", "gai_key")
        self.told: list[dict[str, Any]] = []
        self.failing: Exception | None = None
        self.refusals: list[str] = []
        self.attempts = 0
        self.hold = threading.Event()
        self.hold.set()

    def tell(self, records: list[dict[str, Any]]) -> list[str]:
        self.attempts += 1
        self.hold.wait(10)
        if self.failing is not None:
            raise self.failing
        self.told += records
        return self.refusals


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a test waits as long as in life."""
    monkeypatch.setattr(callback, "LINGER", 0.02)
    monkeypatch.setattr(callback, "PAUSES", (0.01, 0.02))


def call(number: int = 1) -> dict[str, Any]:
    return recorded("stream") | {"call_id": f"c{number}"}


@pytest.mark.parametrize(
    ("name", "outcome", "tokens", "cost"),
    [
        ("chat", "ok", (16, 5), "0.000026000000"),
        ("stream", "ok", (16, 5), "0.000026000000"),
        ("completions", "ok", (16, 3), "0.000022000000"),
        ("embeddings", "ok", (16, 0), "0.000016000000"),
        ("client-left", "left", (12, 22), "0.000056000000"),
        ("client-left-before-the-first-word", "left", (None, None), None),
        ("model-unknown-to-the-gateway", "failed", (None, None), None),
        ("model-unknown-to-litellm", "failed", (None, None), None),
        ("bad-request", "failed", (None, None), None),
        ("engine-lost", "failed", (12, 10), "0.000032000000"),
        ("budget-spent", "failed", (None, None), None),
        ("virtual-key", "ok", (16, 5), "0.000026000000"),
    ],
)
def test_what_is_told_of_a_call(
    name: str, outcome: str, tokens: tuple[int | None, int | None], cost: str | None
) -> None:
    """Not told is not zero: a failed call without an answer has neither tokens nor a cost."""
    told = recorded(name)
    assert told["outcome"] == outcome
    assert (told["prompt_tokens"], told["completion_tokens"]) == tokens
    assert told["cost"] == cost
    assert len(told["call_id"]) == 36
    assert told["model"] in ("mock", "absent", "nix")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("chat", True),
        ("stream", True),
        ("embeddings", True),
        ("client-left", True),
        ("model-unknown-to-the-gateway", True),
        ("bad-request", True),
        ("completions", False),
        ("engine-lost", False),
        ("model-unknown-to-litellm", False),
        ("out-of-the-cache", False),
    ],
)
def test_the_gateways_id_is_told_where_litellm_has_it(name: str, known: bool) -> None:
    """From the answer's headers or the error; never that of the call which filled the cache."""
    found = recorded(name)["request_id"]
    assert (found is not None and found.startswith("req_")) is known


def test_an_answer_out_of_the_cache_was_never_sent() -> None:
    """The gateway has no part in it."""
    assert recorded("out-of-the-cache")["sent"] is False


def test_a_virtual_key_is_told_by_hash_alias_user_and_team() -> None:
    """By each of them the gateway may know the member; the secret itself is nowhere."""
    told = recorded("virtual-key")
    assert told["key_hash"].startswith("88dc28d0")
    who = ("key_alias", "key_user_id", "key_team_id", "key_team_alias")
    assert [told[each] for each in who] == [
        "anna-laptop",
        "anna",
        "6d1b3b1e-0f7b-4e0b-9a8e-6f2f4f3a6c11",
        "physics",
    ]


def test_no_prompt_is_told() -> None:
    """Neither question nor answer leaves LiteLLM by this way."""
    payload = {"litellm_call_id": "c", "messages": "a secret", "response": "a secret"}
    assert "secret" not in json.dumps(ended(payload, failed=False))


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"litellm_call_id": 5, "startTime": "x", "response_cost": "y", "metadata": None},
        {"error_information": {"error_code": None}, "hidden_params": {"additional_headers": 0}},
        {"prompt_tokens": -1, "completion_tokens": True, "response_cost": float("nan")},
    ],
)
def test_an_odd_payload_is_described_as_well_as_it_can_be(payload: dict[str, Any]) -> None:
    """Another version of LiteLLM may leave anything out."""
    json.dumps(ended(payload, failed=False), allow_nan=False)


async def _sent(reporter: Reporter, number: int) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "litellm_call_id": f"c{number}",
        "model": "openai/mock",
        "extra_headers": {"x-own": "1"},
        "metadata": {"model_group": "mock", "user_api_key_alias": "anna"},
    }
    return await GarageAi(reporter).async_pre_call_deployment_hook(kwargs, "acompletion")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_the_gateway_hears_litellms_id_with_the_call(tmp_path: Path) -> None:
    """Also where LiteLLM never learns the gateway's; other headers stay."""
    reporter = Reporter(tmp_path, PlayedGateway())
    kwargs = await _sent(reporter, 7)
    reporter.close()
    assert kwargs["extra_headers"] == {"x-own": "1", "x-client-request-id": "c7"}


class Kept(Reporter):
    """A reporter that only keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def put(self, record: dict[str, Any], *, has_ended: bool) -> None:
        del has_ended
        self.kept.append(record)


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [{}, {"x-litellm-call-id": "mine"}])
async def test_a_client_that_names_its_calls_alike_has_an_id_for_each(
    headers: dict[str, str],
) -> None:
    """LiteLLM lets it; one id for all would be passed on once. Its own ids stay as they are."""
    reporter = Kept()
    hooks = GarageAi(reporter)
    sent = []
    for arrival in (1.5, 2.5):
        request = {"headers": headers, "arrival_time": arrival}
        kwargs = {"litellm_call_id": "mine", "proxy_server_request": request}
        sent.append((await hooks.async_pre_call_deployment_hook(kwargs))["extra_headers"])
        told = {"litellm_params": kwargs, "standard_logging_object": {"litellm_call_id": "mine"}}
        await hooks.async_log_success_event(told)
    names = [record["call_id"] for record in reporter.kept]
    assert names[0::2] == names[1::2] == [each["x-client-request-id"] for each in sent]
    assert len(set(names)) == (2 if headers else 1)
    assert ("mine" in names) == (not headers)


def test_calls_are_told_in_groups_and_forgotten(tmp_path: Path) -> None:
    """Everything that was put is told once, and nothing stays on disk."""
    gateway = PlayedGateway()
    reporter = Reporter(tmp_path, gateway)
    for number in range(300):
        reporter.put(call(number), has_ended=True)
    eventually(lambda: len(gateway.told) >= 300, 60)
    reporter.close()
    assert sorted(each["call_id"] for each in gateway.told) == sorted(f"c{n}" for n in range(300))
    assert gateway.attempts < 50
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "failing",
    [
        urllib.error.URLError("refused"),
        http.client.IncompleteRead(b"{"),
        http.client.BadStatusLine("SSH-2.0"),
        AttributeError("unforeseen"),
    ],
)
def test_a_gateway_that_is_away_loses_nothing(tmp_path: Path, failing: Exception) -> None:
    """It is asked again and again, whatever comes back; what it gets in the end is whole."""
    gateway = PlayedGateway()
    gateway.failing = failing
    reporter = Reporter(tmp_path, gateway)
    for number in range(20):
        reporter.put(call(number), has_ended=True)
    eventually(lambda: gateway.attempts > 3)
    gateway.failing = None
    eventually(lambda: len(gateway.told) == 20)
    reporter.close()
    assert {each["call_id"] for each in gateway.told} == {f"c{n}" for n in range(20)}


def test_a_gateway_that_hangs_keeps_nothing_from_the_disk(tmp_path: Path) -> None:
    """Records are on disk while the request that tells others is still under way."""
    gateway = PlayedGateway()
    gateway.hold.clear()
    reporter = Reporter(tmp_path, gateway)
    reporter.put(call(1), has_ended=True)
    eventually(lambda: gateway.attempts == 1)
    began = time.monotonic()
    reporter.put(call(2), has_ended=True)
    assert time.monotonic() - began < 5  # of ten
    eventually(lambda: any('"c2"' in f.read_text() for f in tmp_path.glob("p*/*") if f.is_file()))
    gateway.hold.set()
    reporter.close()
    assert [each["call_id"] for each in gateway.told] == ["c1", "c2"]


def test_what_could_not_be_told_is_told_by_the_next_process(tmp_path: Path) -> None:
    """A spool without a holder is taken over, whole."""
    away = PlayedGateway()
    away.failing = ConnectionRefusedError()
    first = Reporter(tmp_path, away)
    for number in range(5):
        first.put(call(number), has_ended=True)
    first.close()
    gateway = PlayedGateway()
    second = Reporter(tmp_path, gateway)
    second.start()
    eventually(lambda: len(gateway.told) == 5)
    second.close()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import asyncio, os, sys, time
from pathlib import Path
from garage_ai.integrations.litellm import callback
class Away(callback.Gateway):
    def tell(self, records):
        raise ConnectionRefusedError
reporter = callback.Reporter(Path(sys.argv[1]), Away("http://x", "k"))
hooks = callback.GarageAi(reporter)
async def go():
    for number in range(10):
        await hooks.async_pre_call_deployment_hook(
            {"litellm_call_id": f"c{number}", "metadata": {"user_api_key_alias": "anna"}}, None)
    for number in range(6):
        payload = {"litellm_call_id": f"c{number}", "completion_tokens": 3}
        await hooks.async_log_success_event(
            kwargs={"standard_logging_object": payload}, response_obj=None)
asyncio.run(go())
deadline = time.monotonic() + 60
def lines():  # each call is noted when it begins, and six when they end
    return sum(f.read_bytes().count(b"\\n") for f in Path(sys.argv[1]).glob("p*/running.jsonl"))
while lines() < 16:
    assert time.monotonic() < deadline
    time.sleep(0.01)
print("written", flush=True)
time.sleep(60)
"""


def test_a_killed_proxy_loses_neither_ended_nor_running_calls(tmp_path: Path) -> None:
    """The next one tells both; what was under way is `lost`, and whose it was is known."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.kill()
    child.wait()
    child.stdout.close()
    gateway = PlayedGateway()
    reporter = Reporter(tmp_path, gateway)
    reporter.start()
    eventually(lambda: len(gateway.told) == 10)
    reporter.close()
    told = {each["call_id"]: each for each in gateway.told}
    assert [told[f"c{number}"]["outcome"] for number in range(10)] == ["ok"] * 6 + ["lost"] * 4
    assert all(each["sent"] for each in told.values())
    assert told["c9"]["key_alias"] == "anna"


def test_a_folder_in_use_is_not_taken_over(tmp_path: Path) -> None:
    """Each worker of a proxy has its own."""
    first, second = Spool(tmp_path), Spool(tmp_path)
    first.end(call(1))
    second.take_over()
    assert second.lines == 0
    first.close()
    second.take_over()
    assert len(second.groups()) == 1
    second.close()


def test_a_line_cut_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    """What stands before it is told."""
    folder = tmp_path / "pdead"
    folder.mkdir()
    (folder / "open.jsonl").write_text(json.dumps(call(1)) + '\n{"call_id": "c2", "outc')
    with closing(Spool(tmp_path)) as spool:
        spool.take_over()
        [group] = spool.groups()
        assert [each["call_id"] for each in callback.read_lines(group)] == ["c1"]


def test_a_full_spool_drops_the_new_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is bounded; what was kept stays."""
    with closing(Spool(tmp_path, limit=100)) as spool:
        spool.end(call(1))
        spool.close_group()
        spool.end(call(2))
        assert (spool.lost, spool.lines, len(spool.groups())) == (1, 0, 1)
    assert "lost" in caplog.text


def test_a_full_memory_drops_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing grows without bound, and nothing raises."""
    monkeypatch.setattr(callback, "MAX_WAITING", 3)
    reporter = Reporter(tmp_path, PlayedGateway())
    monkeypatch.setattr(reporter, "_process", os.getpid())
    for number in range(5):
        reporter.put(call(number), has_ended=True)
    assert reporter.dropped == 2


def test_the_list_of_running_calls_does_not_grow_for_ever(tmp_path: Path) -> None:
    """It is written anew when most of it is history."""
    spool = Spool(tmp_path)
    record = call(0)
    for _ in range(6_000):
        spool.begin(record)
        spool.end(dict(record))
    lines = (spool.folder / "running.jsonl").read_bytes().count(b"\n")
    assert lines < 3_000
    spool.close()


@pytest.mark.parametrize("was_there", [False, True])
def test_what_is_refused_is_for_its_owners_eyes(tmp_path: Path, was_there: bool) -> None:
    """It holds whose calls they were."""
    root = tmp_path / "spool"
    before = os.umask(0o022)
    try:
        if was_there:
            root.mkdir()
        spool = Spool(root)
        spool.end(call(1))
        spool.close_group()
        spool.done(spool.groups()[0], ["c1: model: too long"])
        spool.close()
    finally:
        os.umask(before)
    (refused,) = root.glob("refused-*")
    assert refused.stat().st_mode & 0o077 == 0
    assert was_there or root.stat().st_mode & 0o077 == 0


def test_what_the_gateway_refuses_is_kept_for_a_person(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A group with refused calls is set aside, and the next one goes on."""
    gateway = PlayedGateway()
    gateway.refusals = ["c1: model: too long"]
    reporter = Reporter(tmp_path, gateway)
    reporter.put(call(1), has_ended=True)
    eventually(lambda: bool(list(tmp_path.glob("refused-*"))))
    reporter.close()
    assert "c1: model: too long" in caplog.text
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["refused"]


def test_what_comes_after_the_end_is_kept_for_the_next_start(tmp_path: Path) -> None:
    """LiteLLM logs its last calls while the interpreter shuts down."""
    reporter = Reporter(tmp_path, PlayedGateway())
    reporter.start()
    reporter.close()
    reporter.put(call(1), has_ended=True)
    with closing(Spool(tmp_path)) as spool:
        spool.take_over()
        assert len(spool.groups()) == 1


@pytest.mark.parametrize(("status", "raises"), [(400, False), (413, False), (503, True)])
def test_only_a_group_that_can_never_be_taken_is_given_up(
    monkeypatch: pytest.MonkeyPatch, status: int, raises: bool
) -> None:
    """All else is tried again: also a wrong key, which its owner may put right."""
    gateway = Gateway("http://gateway", "k")

    def fails(*_: object, **__: object) -> Any:
        raise urllib.error.HTTPError("u", status, "no", Message(), BytesIO(b"why"))

    monkeypatch.setattr("urllib.request.urlopen", fails)
    if raises:
        with pytest.raises(OSError, match="no"):
            gateway.tell([call()])
    else:
        assert gateway.tell([call()]) == ["why"]


def test_the_longest_names_keep_no_other_call_out() -> None:
    """Whatever a proxy's users call themselves, a whole group is not too large for the gateway."""
    long = "\U0001f697" * 1000
    who = {f"user_api_{name}": long for name in callback._WHO}
    payload = {
        "litellm_call_id": long,
        "model_group": long,
        "call_type": long,
        "metadata": who,
        "error_information": {"error_code": "500", "error_class": long},
    }
    group = [ended(payload, failed=True)] * callback.GROUP
    assert len(json.dumps({"calls": group})) <= MAX_CALLS_BODY


def test_the_file_needs_nothing_of_this_project() -> None:
    """It is copied beside LiteLLM's config, where there is no garage_ai."""
    source = Path(callback.__file__).read_text()
    assert "garage_ai." not in source.replace("garage_ai.litellm", "")
