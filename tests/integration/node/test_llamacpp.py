"""A real llama.cpp with a real small model, behind the agent."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from tests.integration.node.conftest import MakeAgent, Rig
from tests.parts.job_caller import Caller, until
from tests.parts.waiting import eventually

from garage_ai.catalog import Catalog, InPackage
from garage_ai.node.engines.link import EngineLink, listener_of
from garage_ai.node.engines.llamacpp import LlamaEngine
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.wire.frames import Accepted, End, Fail, Head, Route
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import BeatNow

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAME = "smollm2-135m-instruct"
DIGEST = Digest("sha256:" + "a" * 64)
QUESTION = [{"role": "user", "content": "Say hello in five words."}]
SERVER = [sys.executable, "-m", "garage_ai.node.engines.llamacpp_server"]


def weights() -> Path:
    """Find the small model that comes as a package."""
    manifest = Catalog.load().by_name(NAME)
    assert manifest is not None
    (source,) = manifest.sources
    assert isinstance(source, InPackage)
    found = source.locate(manifest.weights.path)
    assert found is not None
    return found


def chat(**more: object) -> bytes:
    body = {"model": "garage-chat", "messages": QUESTION, "temperature": 0, "seed": 1} | more
    return json.dumps(body).encode()


def streamed(**more: object) -> bytes:
    return chat(stream=True, stream_options={"include_usage": True}, **more)


@pytest.fixture
def engine(tmp_path: Path) -> LlamaEngine:
    """An engine with two slots, not yet started."""
    options = LlamaOptions(
        weights=weights(), name=NAME, digest=DIGEST, kind="chat", slots=2, context=512, threads=1
    )
    return LlamaEngine(options, run=tmp_path / "run", logs=tmp_path / "logs")


@pytest.fixture
async def real(make_agent: MakeAgent, engine: LlamaEngine, caller: Caller) -> Rig:
    """An agent that serves it."""
    rig = await make_agent(engine)
    await caller.ready()
    return rig


@pytest.fixture
async def slots(engine: LlamaEngine, tmp_path: Path) -> AsyncIterator[EngineLink]:
    """A look at the engine's own slots."""
    link = EngineLink("http://engine", socket=lambda: str(tmp_path / "run" / "engine.sock"))
    link.open()
    yield link
    await link.close()


async def working(link: EngineLink) -> int:
    """Count the slots at work, as llama.cpp sees it."""
    _, page = await link.get("/slots", seconds=5)
    return sum(slot["is_processing"] for slot in json.loads(page))


async def test_its_process_is_the_one_that_listens(
    real: Rig, engine: LlamaEngine, tmp_path: Path
) -> None:
    """Bare, the process that was started and the one that answers are one and the same."""
    assert listener_of(str(tmp_path / "run" / "engine.sock")) == engine.pid
    assert engine.pids == {engine.pid}
    assert listener_of(str(tmp_path / "run" / "none.sock")) is None


async def test_answers_through_packets(real: Rig, caller: Caller, tmp_path: Path) -> None:
    """Plain, streamed and completion give a real model's words, under the model's own name."""
    plain = await caller.call("a1", chat(max_tokens=8)).over()
    assert plain.head == Head(200, "application/json; charset=utf-8")
    answer = json.loads(plain.body)
    text = answer["choices"][0]["message"]["content"]
    assert text
    assert answer["choices"][0]["finish_reason"] == "length"
    assert (answer["model"], answer["object"]) == (NAME, "chat.completion")
    assert answer["usage"]["completion_tokens"] == 8

    stream = await caller.call("a2", streamed(max_tokens=8), stream=True).over()
    assert stream.head == Head(200, "text/event-stream")
    events = [json.loads(line[6:]) for line in stream.body.split(b"\n") if b"data: {" in line]
    said = [choice["delta"].get("content") for event in events for choice in event["choices"]]
    assert "".join(part or "" for part in said) == text
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 8
    assert stream.body.endswith(b"data: [DONE]\n\n")

    caller.control(BeatNow(0.0))
    await caller.beat(lambda beat: beat.models[0].prefill_speed > 0)

    body = json.dumps({"model": NAME, "prompt": "Once upon", "max_tokens": 4}).encode()
    completion = await caller.call("a3", body, route="completions").over()
    assert json.loads(completion.body)["object"] == "text_completion"

    refused = await caller.call("a4", b'{"model":"m","messages":5}').over()
    assert refused.head is not None
    assert refused.head.status == 400
    assert isinstance(refused.last, End)

    folder = tmp_path / "run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "engine.sock").stat().st_mode) == 0o600


PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        {"tools": [{"type": "custom", "custom": {"name": "SECRET"}}]},
        {"tools": [{"type": "function", "SECRET": 1}]},
    ],
    ids=["image", "custom tool", "no function"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_it_does_not_support_is_the_requests_fault(
    real: Rig, caller: Caller, more: dict[str, object], stream: bool
) -> None:
    """llama.cpp calls it a failure of its own; the client is told what cannot be taken."""
    body = streamed(**more) if stream else chat(**more)
    refused = await caller.call("a1", body, stream=stream).over()
    assert refused.head is not None
    assert refused.head.status == 400
    assert isinstance(refused.last, End)
    assert b"SECRET" not in refused.body
    assert json.loads(refused.body)["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_all_choices_and_prompts_are_counted(real: Rig, caller: Caller, stream: bool) -> None:
    """Every choice's tokens count, each prompt once, and usage is said once."""
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

    async def used(route: Route, body: bytes) -> tuple[int, int]:
        call = await caller.call(f"{route}{stream:d}", body, route=route, stream=stream).over()
        if not stream:
            usages = [json.loads(call.body)["usage"]]
        else:
            assert call.body.endswith(b"\n\ndata: [DONE]\n\n")
            events = [json.loads(line[6:]) for line in call.body.split(b"\n") if b"data: {" in line]
            usages = [each["usage"] for each in events if "usage" in each]
        (usage,) = usages
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        return usage["prompt_tokens"], usage["completion_tokens"]

    prompt, completion = await used("chat", chat(max_tokens=4, n=2, ignore_eos=True, **more))
    assert (prompt, completion) == (36, 8)
    body = {"prompt": ["a b c d", "y z"], "max_tokens": 2, "ignore_eos": True, "n": 1} | more
    assert await used("completions", json.dumps(body).encode()) == (6, 4)


async def test_cancel_frees_the_slot(real: Rig, caller: Caller, slots: EngineLink) -> None:
    """A cancelled stream and a cancelled plain request stop in llama.cpp, also beside others."""
    other = caller.call("a0", streamed(max_tokens=400, ignore_eos=True), stream=True)
    await other.until(lambda call: len(call.body) > 0)
    for number, stream in enumerate((True, False)):
        body = (streamed if stream else chat)(max_tokens=400, ignore_eos=True)
        call = caller.call(f"a{number + 1}", body, stream=stream)
        await until_working(slots, 2)
        call.cancel()
        assert (await call.over()).last == Fail("cancelled")
        await until_working(slots, 1)
        assert other.last is None  # it began before, and has as much to say
    other.cancel()
    await other.over()
    await until_working(slots, 0)


async def until_working(slots: EngineLink, count: int) -> None:
    async with asyncio.timeout(20):
        while True:
            if await working(slots) == count:
                return
            await asyncio.sleep(0.02)


async def test_heals_after_it_was_killed(real: Rig, caller: Caller, engine: LlamaEngine) -> None:
    """kill -9 ends what runs as lost; the agent says loading, and serves again by itself."""
    call = caller.call("a1", streamed(max_tokens=400, ignore_eos=True), stream=True)
    await call.until(lambda call: len(call.body) > 0)
    killed = engine.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await call.over()
    assert isinstance(call.last, Fail)
    assert call.last.code == "engine_lost"
    await caller.beat(lambda beat: beat.models[0].engine == "loading", 20)
    await caller.ready()
    assert engine.pid != killed
    again = await caller.call("a2", chat(max_tokens=2)).over()
    assert isinstance(again.frames[0], Accepted)
    assert isinstance(again.last, End)


async def test_the_second_load_says_how_long_it_will_take(
    real: Rig, caller: Caller, engine: LlamaEngine
) -> None:
    del real  # it serves, so the first load is over
    assert engine.seconds_left == 0
    await engine.release()
    assert engine.seconds_left == 0  # nobody loads it
    await engine.start()
    beat = await caller.beat(lambda beat: beat.models[0].ready_in > 0, 20)
    assert beat.models[0].engine == "loading"
    ready = await caller.beat(lambda beat: beat.models[0].engine == "ready", 20)
    assert ready.models[0].ready_in == 0


async def test_what_it_refuses_is_not_in_its_log(real: Rig, caller: Caller, tmp_path: Path) -> None:
    """llama.cpp's warnings quote the request: tool calls, tools and schemas stay out of the log."""
    secret = "MYSECRET"
    call = {"id": "a", "type": "custom", "custom": {"name": "f", "input": secret}}
    shape = {"name": "a", "schema": {"type": secret}}
    loose = {"name": "a", "schema": {"type": "string", "pattern": secret}}
    refused: list[dict[str, object]] = [
        {"messages": [{"role": "assistant", "tool_calls": [call]}, *QUESTION]},
        {"tools": [{"type": "custom", "custom": {"name": secret}}]},
        {"response_format": {"type": "json_schema", "json_schema": shape}},
        {"response_format": {"type": "json_schema", "json_schema": loose}},
    ]
    for number, more in enumerate(refused):
        answer = await caller.call(f"a{number}", chat(max_tokens=1, **more)).over()
        assert isinstance(answer.last, End)
    log = (tmp_path / "logs" / "engine.log").read_bytes()
    assert b"listening" in log
    assert secret.encode() not in log


async def test_a_model_that_cannot_be_loaded_is_told(
    make_agent: MakeAgent, caller: Caller, tmp_path: Path
) -> None:
    """The reason of a start that fails reaches the beat and the log, and it is tried again."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, or not")
    options = LlamaOptions(
        weights=broken, name="m", digest=DIGEST, kind="chat", slots=1, context=128, threads=1
    )
    engine = LlamaEngine(options, run=tmp_path / "run", logs=tmp_path / "logs")
    await make_agent(engine)
    beat = await caller.beat(lambda beat: "status 1" in beat.reason, 20)
    assert beat.state == "joining"
    first = engine.pid
    await until(lambda: engine.pid not in (None, first))
    assert b"cannot serve" in (tmp_path / "logs" / "engine.log").read_bytes()


def test_a_signal_ends_it_while_it_loads_and_when_it_serves(tmp_path: Path) -> None:
    """SIGTERM is obeyed at any time, though Python is kept from running."""
    argv = [*SERVER, "--model", str(weights()), "--socket", str(tmp_path / "e.sock")]
    for wait_for_line in (False, True):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        if wait_for_line:
            assert process.stdout.readline().startswith(b"listening ")
        else:
            eventually("its socket", (tmp_path / "e.sock").exists)
        process.terminate()
        process.wait(30)
        process.stdout.close()


def test_ends_with_the_other_end_of_its_stdin(tmp_path: Path) -> None:
    """As in a container, where no parent is to be seen: at once, also while the model loads."""
    argv = [*SERVER, "--model", str(weights()), "--socket", str(tmp_path / "e.sock")]
    for wait in (True, False):
        with subprocess.Popen(
            [*argv, "--while-stdin-is-open"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if wait:
                assert process.stdout.readline().startswith(b"listening")
                (child,) = psutil.Process(process.pid).children()
            process.stdin.close()
            assert process.wait(30) == 0
    eventually("the engine's end", lambda: not child.is_running(), 20)


def test_a_crash_inside_is_told_outside(tmp_path: Path) -> None:
    """The parent that watches stdin ends with what its child ended with."""
    argv = [*SERVER, "--model", str(weights()), "--socket", str(tmp_path / "e.sock")]
    with subprocess.Popen(
        [*argv, "--while-stdin-is-open"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"listening")
        (child,) = psutil.Process(process.pid).children()
        child.kill()
        assert process.wait(30) == 128 + 9


def test_a_shared_socket_is_for_others_too(tmp_path: Path) -> None:
    """In a container it is made by another user than the one who asks; its folder guards it."""
    for options, mode in (([], 0o600), (["--shared-socket"], 0o666)):
        argv = [*SERVER, "--model", str(weights()), "--socket", str(tmp_path / "e.sock"), *options]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"listening")
            assert (tmp_path / "e.sock").stat().st_mode & 0o777 == mode
            process.terminate()


def test_dies_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of the parent ends the engine too."""
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([*sys.argv[1:], '--parent', str(os.getpid())])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    argv = [*SERVER, "--model", str(weights()), "--socket", str(tmp_path / "e.sock")]
    parent = subprocess.Popen([sys.executable, "-c", code, *argv], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually("the engine's end", lambda: not child.is_running(), 20)


def test_embeds(tmp_path: Path) -> None:
    """With --embedding it gives vectors, on TCP as well."""
    argv = [*SERVER, "--model", str(weights()), "--embedding", "--pooling", "mean"]
    argv += ["--slots", "1", "--context", "128", "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1].decode()

        async def embed() -> dict[str, list[dict[str, list[float]]]]:
            link = EngineLink(address)
            link.open()
            try:
                _, page = await link.probe("embeddings", b'{"input":["a","b"]}', seconds=20)
            finally:
                await link.close()
            answer: dict[str, list[dict[str, list[float]]]] = json.loads(page)
            return answer

        answer = asyncio.run(embed())
        process.terminate()
    assert [len(each["embedding"]) for each in answer["data"]] == [576, 576]
