"""A request's body: what passes, what is renamed, kept, dropped or refused."""

import json
from typing import Any

import msgspec
import pytest

from garage_ai.gateway.errors import BadRequest
from garage_ai.gateway.fields import FIELDS, TEXT_OR_TOKENS
from garage_ai.gateway.request import MAX_DEPTH, Reading, depth_of, read_request
from garage_ai.ledger.counting.rule import count_by_rule
from garage_ai.serving import worst_case
from garage_ai.wire.frames import Route

MESSAGES = [{"role": "user", "content": "Hello"}]
BASE: dict[Route, dict[str, Any]] = {
    "chat": {"model": "m", "messages": MESSAGES},
    "completions": {"model": "m", "prompt": "Once"},
    "embeddings": {"model": "m", "input": "text"},
}


def read(route: Route = "chat", /, **fields: object) -> Reading:
    return read_request(route, json.dumps(BASE[route] | fields).encode())


def sent(reading: Reading) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(reading.body)
    return body


def refused(route: Route = "chat", /, **fields: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read(route, **fields)
    return caught.value


FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
GOOD: list[tuple[Route, str, object]] = [
    ("chat", "frequency_penalty", -2),
    ("chat", "function_call", {"name": "f"}),
    ("chat", "functions", [{"name": "f", "parameters": {"type": "object"}}]),
    ("chat", "logit_bias", {"50256": -100}),
    ("chat", "logprobs", True),
    ("chat", "max_tokens", 131_072),
    ("chat", "n", 8),
    ("chat", "parallel_tool_calls", False),
    ("chat", "presence_penalty", 1.5),
    ("chat", "reasoning_effort", "low"),
    ("chat", "response_format", {"type": "text"}),
    ("chat", "response_format", {"type": "json_object"}),
    (
        "chat",
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    ),
    ("chat", "seed", -(2**63)),
    ("chat", "stop", "end"),
    ("chat", "stop", ["a", "b", "c", "d"]),
    ("chat", "temperature", 0.7),
    ("chat", "tool_choice", "required"),
    ("chat", "tool_choice", {"type": "function", "function": {"name": "f"}}),
    (
        "chat",
        "tool_choice",
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
        },
    ),
    ("chat", "tools", [{"type": "function", "function": FUNCTION}]),
    ("chat", "tools", [{"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}]),
    ("chat", "top_logprobs", 20),
    ("chat", "top_p", 1),
    ("completions", "best_of", 8),
    ("completions", "echo", True),
    ("completions", "logprobs", 5),
    ("completions", "prompt", ["a", "b"]),
    ("completions", "prompt", [1, 2, 3]),
    ("completions", "prompt", [[1, 2], [3]]),
    ("completions", "suffix", "the end"),
    ("embeddings", "dimensions", 256),
    ("embeddings", "encoding_format", "base64"),
    ("embeddings", "input", ["a"] * 2048),
    ("embeddings", "input", [1, 2, 3]),
    ("embeddings", "input", [[1], [2]]),
]


@pytest.mark.parametrize(("route", "name", "value"), GOOD)
def test_official_fields_pass(route: Route, name: str, value: object) -> None:
    """A field of the official API reaches the engine as it is."""
    reading = read(route, **{name: value})
    assert sent(reading)[name] == value
    assert not reading.dropped


def test_every_passing_field_is_tried() -> None:
    """The list above misses no field that passes."""
    tried = {(route, name) for route, name, _ in GOOD}
    passing = {
        (route, field.name)
        for route, fields in FIELDS.items()
        for field in fields.values()
        if field.fate == "pass" and not field.required
    }
    shared = {name for route, name in tried if route == "chat"}
    assert {(r, n) for r, n in passing if (r, n) not in tried and n not in shared} == set()


BAD: list[tuple[Route, str, object]] = [
    ("chat", "frequency_penalty", 2.1),
    ("chat", "function_call", 1),
    ("chat", "functions", [{"name": "f"}] * 129),
    ("chat", "logit_bias", {"word": 1}),
    ("chat", "logit_bias", {"1": 101}),
    ("chat", "logprobs", 1),
    ("chat", "max_tokens", 0),
    ("chat", "max_completion_tokens", 131_073),
    ("chat", "messages", []),
    ("chat", "messages", MESSAGES * 4097),
    ("chat", "messages", "Hello"),
    ("chat", "messages", [{"role": "wizard", "content": "x"}]),
    ("chat", "messages", [{"role": "user", "content": [{"type": "video_url"}]}]),
    ("chat", "model", ""),
    ("chat", "model", "a\nb"),
    ("chat", "n", 9),
    ("chat", "n", 0),
    ("chat", "n", True),
    ("chat", "parallel_tool_calls", "yes"),
    ("chat", "presence_penalty", "high"),
    ("chat", "reasoning_effort", "enormous"),
    ("chat", "response_format", {"type": "structural_tag"}),
    ("chat", "response_format", "json"),
    ("chat", "seed", 2**63),
    ("chat", "stop", ["a"] * 5),
    ("chat", "stream", "yes"),
    ("chat", "stream_options", True),
    ("chat", "temperature", 2.1),
    ("chat", "tool_choice", "maybe"),
    ("chat", "tools", [{"type": "function", "function": {"name": "f"}}] * 129),
    ("chat", "tools", [{"type": "function", "function": {"name": "f", "parameters": []}}]),
    ("chat", "top_logprobs", 21),
    ("chat", "top_p", -0.1),
    ("completions", "best_of", 9),
    ("completions", "logprobs", 21),
    ("completions", "prompt", None),
    ("completions", "prompt", []),
    ("completions", "prompt", ["a", 1]),
    ("completions", "prompt", ["a"] * 129),
    ("completions", "prompt", {"text": "a"}),
    ("embeddings", "dimensions", 0),
    ("embeddings", "encoding_format", "hex"),
    ("embeddings", "input", ["a"] * 2049),
    ("embeddings", "input", [-1]),
]


@pytest.mark.parametrize(("route", "name", "value"), BAD)
def test_bounds(route: Route, name: str, value: object) -> None:
    """A value beyond its shape or range is refused, and the field is named."""
    error = refused(route, **{name: value})
    assert error.problem.status == 400
    assert error.param is not None
    assert error.param.startswith(name)


@pytest.mark.parametrize("route", ["chat", "completions", "embeddings"])
def test_required_fields(route: Route) -> None:
    """Each field that a route needs is asked for by name."""
    for name in BASE[route]:
        body = {key: value for key, value in BASE[route].items() if key != name}
        with pytest.raises(BadRequest) as caught:
            read_request(route, json.dumps(body).encode())
        assert (caught.value.code, caught.value.param) == ("missing_required_parameter", name)


@pytest.mark.parametrize(
    "name",
    [
        "add_generation_prompt",
        "cache_prompt",
        "cache_salt",
        "chat_template",
        "chat_template_kwargs",
        "continue_final_message",
        "echo",
        "grammar",
        "guided_json",
        "id_slot",
        "kv_transfer_params",
        "priority",
        "prompt_logprobs",
        "samplers",
        "structured_outputs",
        "vllm_xargs",
        "made_up",
    ],
)
def test_internals_are_dropped(name: str) -> None:
    """What an engine takes for its own control never reaches it, and is named."""
    reading = read(**{name: {"x": 1}})
    assert name not in sent(reading)
    assert reading.dropped == {name}


def test_nested_internals_are_dropped() -> None:
    """Unknown members inside known fields are cut out and named by their path."""
    reading = read(
        messages=[
            {
                "role": "user",
                "prefix": True,
                "content": [
                    {"type": "text", "text": "a", "uuid": "u"},
                    {"type": "image_url", "image_url": {"url": "data:x", "cache": 1}},
                ],
            }
        ],
        response_format={"type": "json_object", "schema": {"type": "object"}},
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    )
    assert reading.dropped == {
        "messages.prefix",
        "messages.content.uuid",
        "messages.content.image_url.cache",
        "response_format.schema",
        "stream_options.continuous_usage_stats",
    }
    assert sent(reading)["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:x"}},
            ],
        }
    ]
    assert reading.include_usage


def test_what_engines_need_not_see_is_named() -> None:
    """What is the caller's own stays here, and he is told so."""
    private = ("user", "metadata", "store", "service_tier", "safety_identifier")
    caching = ("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
    for route in FIELDS:
        reading = read(route, **dict.fromkeys((*private, *caching), "private"))
        assert sent(reading) == BASE[route]
        assert reading.dropped == {*private, *caching}


def test_what_the_gateway_does_itself_is_not_named() -> None:
    """A stream, and the usage of one, are what the client asked for."""
    reading = read(stream=True, stream_options={"include_usage": True}, modalities=["text"])
    assert (reading.stream, reading.include_usage) == (True, True)
    assert not reading.dropped


def test_null_is_not_given() -> None:
    """Null stands for a field that was left out."""
    assert sent(read(temperature=None, stop=None, tools=None, max_tokens=None)) == BASE["chat"]


@pytest.mark.parametrize("more", [{}, {"max_tokens": 5}, {"max_tokens": None}])
def test_max_completion_tokens(more: dict[str, object]) -> None:
    """The newer name is sent under the one that every engine knows, and wins."""
    for fields in ({"max_completion_tokens": 9} | more, more | {"max_completion_tokens": 9}):
        assert sent(read(**fields)) == BASE["chat"] | {"max_tokens": 9}


@pytest.mark.parametrize("asked", [None, {"include_usage": True}, {"include_usage": False}])
def test_usage_is_always_asked_for(asked: dict[str, bool] | None) -> None:
    """A stream's engine is asked for usage whether the client wants it or not."""
    reading = read(stream=True, stream_options=asked)
    assert sent(reading)["stream_options"] == {"include_usage": True}
    assert sent(reading)["stream"] is True
    assert reading.stream
    assert reading.include_usage is bool(asked and asked["include_usage"])


def test_plain_says_nothing_of_streams() -> None:
    """A plain request carries neither `stream` nor its options."""
    reading = read(stream=False, stream_options={"include_usage": True})
    assert sent(reading) == BASE["chat"]
    assert not reading.stream


def test_bytes_are_reused() -> None:
    """Messages are sent byte for byte as they came, and the model comes first."""
    odd = '[ {"content":"\\u00e5 \\n" , "role":"user"} ]'
    body = f'{{"messages":{odd},"model":"m"}}'
    assert read_request("chat", body.encode()).body == f'{{"model":"m","messages":{odd}}}'.encode()


def test_repeated_members() -> None:
    """Of a field given twice one is sent, the one that was checked last."""
    body = b'{"model":"m","prompt":"a","n":99,"n":2,"prompt":"b"}'
    assert json.loads(read_request("completions", body).body) == {
        "model": "m",
        "prompt": "b",
        "n": 2,
    }


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "https://a/b.png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": " data:image/png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "DATA:image/png"}}, "image_url.url"),
        (
            {"type": "input_audio", "input_audio": {"data": "http://a", "format": "wav"}},
            "input_audio.data",
        ),
        ({"type": "file", "file": {"file_data": " file:///x"}}, "file.file_data"),
    ],
)
def test_media_elsewhere(part: dict[str, object], param: str) -> None:
    """Nothing is fetched: an address of media is refused."""
    error = refused(messages=[{"role": "user", "content": [part]}])
    assert error.code == "media_url_unsupported"
    assert error.param == f"messages[0].content[0].{param}"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
        {"type": "text", "text": "https://in.text/is?fine"},
        {"type": "refusal", "refusal": "no"},
    ],
)
def test_media_itself(part: dict[str, object]) -> None:
    """Media that come along pass."""
    messages = [{"role": "user", "content": [part]}]
    assert sent(read(messages=messages))["messages"] == messages


def test_no_file_store() -> None:
    """A file by its id is refused, since nothing is stored."""
    part = {"type": "file", "file": {"file_id": "file-1"}}
    assert refused(messages=[{"role": "user", "content": [part]}]).code == "unsupported_value"


def test_conversation() -> None:
    """Five roles and tool calls pass as they are."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "name": "anna"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "t", "tool_call_id": "c"},
        {"role": "function", "name": "f", "content": None},
        {"role": "assistant", "content": "a", "refusal": None},
    ]
    reading = read(messages=messages)
    assert sent(reading)["messages"] == messages
    assert not reading.dropped


@pytest.mark.parametrize("role", ["developer", "dev\\u0065loper"])
def test_developers_are_heard(role: str) -> None:
    """As system, which every model knows; what they and others say stays as it was."""
    said = {"content": [{"type": "text", "text": "d"}], "name": "bo"}
    user = {"role": "user", "content": '"developer"'}
    messages = json.dumps([{"role": "ROLE"} | said, user]).replace("ROLE", role)
    reading = read_request("chat", b'{"model":"m","messages":%b}' % messages.encode())
    assert sent(reading)["messages"] == [{"role": "system"} | said, user]


def test_speech_is_not_offered() -> None:
    """Asking for audio is refused; asking for text alone is what happens anyway."""
    assert refused(modalities=["text", "audio"]).code == "unsupported_value"
    assert sent(read(modalities=["text"])) == BASE["chat"]
    assert read(audio={"voice": "alloy", "format": "wav"}).dropped == {"audio"}


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_depth() -> None:
    """JSON deeper than 32 levels is refused, in schemas and in what is dropped."""
    tool = {"type": "function", "function": {"name": "f", "parameters": _nested(40)}}
    assert refused(tools=[tool]).code == "json_too_deep"
    assert refused(unknown=_nested(40)).code == "json_too_deep"
    assert refused(metadata=_nested(40)).code == "json_too_deep"
    assert read(unknown=_nested(MAX_DEPTH - 1)).dropped == {"unknown"}
    body = b'{"model":"m","x":' + b"[" * 100_000
    with pytest.raises(BadRequest) as caught:
        read_request("chat", body)
    assert caught.value.code == "json_too_deep"


def test_more_fields_than_anybody_means_are_refused_before_they_are_read() -> None:
    """At the top, in a message, and in what is left out: each took seconds of everybody's time."""
    many = {f"k{number}": 1 for number in range(300)}
    assert refused(**many).code == "too_many_fields"
    message = {"role": "user", "content": "x"}
    assert refused(messages=[message | many]).code == "too_many_fields"
    assert len(read(messages=[message | dict(list(many.items())[:200])]).dropped) == 200
    names = b",".join(b'"k%d":1' % number for number in range(600_000))
    with pytest.raises(BadRequest) as caught:
        read_request("chat", b'{"model":"m",' + names + b"}")
    assert caught.value.code == "too_many_fields"


def test_what_is_left_out_of_a_message_is_not_read() -> None:
    """However much it is; the rest of the message goes on as it came."""
    junk = b"[" + b",".join([b"[]"] * 1_000_000) + b"]"
    body = b'{"model":"m","messages":[{"role":"user","x":' + junk + b',"content":"h\\u00e9"}]}'
    reading = read_request("chat", body)
    assert reading.dropped == {"messages.x"}
    assert json.loads(reading.body)["messages"] == [{"role": "user", "content": "h\u00e9"}]


def test_too_many_messages_with_unknown_fields_are_told_as_too_many() -> None:
    """The number is what is wrong, not the field."""
    error = refused(messages=[{"role": "user", "content": "x", "k": 1}] * 5000)
    assert (error.code, error.param) == ("invalid_value", "messages")
    assert "length" in error.message


def test_brackets_in_text_do_not_nest() -> None:
    """Only real brackets count."""
    assert depth_of(json.dumps({"a": '[[[["\\' * 50, "b": [1]}).encode()) == 2


def test_schema_size() -> None:
    """A schema larger than 64 KiB is refused."""
    schema = {"type": "object", "description": "x" * 70_000}
    error = refused(
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    )
    assert error.param == "response_format.json_schema.schema"


def test_prompts_times_choices() -> None:
    """Many prompts with many answers each are bounded together."""
    assert refused("completions", prompt=["a"] * 64, n=4).param == "n"
    assert sent(read("completions", prompt=list(range(1000)), n=4))["n"] == 4


def test_each_of_several_prompts_has_a_context() -> None:
    """So much is promised that all of them can be paid, but never more than was sent."""
    several = read("completions", prompt=["word " * 100] * 8, n=2, max_tokens=3)
    assert worst_case(several, 128) == (8 * 128, 2 * 8 * 3)
    assert worst_case(several, 8192) == (len(several.body), 2 * 8 * 3)
    assert worst_case(read("completions", prompt="word " * 100, n=2, max_tokens=3), 128)[0] == 128


@pytest.mark.parametrize("pictures", [1, 12])
def test_what_media_are_billed_as_is_promised(pictures: int) -> None:
    """However few bytes they have, and also where they are billed as more than the context."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    told = {"type": "text", "text": "What is it?"}
    asked = read(messages=[{"role": "user", "content": [told, *[picture] * pictures]}])
    for context in (128, 8192):
        assert worst_case(asked, context)[0] >= count_by_rule("chat", asked.body, ()).prompt


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff",
        b'{"model":"m"} x',
        b'{"model":NaN}',
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"\xff":1}',
    ],
)
def test_no_json_object(body: bytes) -> None:
    """What is no JSON object in UTF-8 is told so."""
    with pytest.raises(BadRequest) as caught:
        read_request("chat", body)
    assert caught.value.code == "invalid_json"


def test_text_that_is_not_utf8() -> None:
    """Bad text inside a field does not reach an engine."""
    body = b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}'
    with pytest.raises(BadRequest) as caught:
        read_request("chat", body)
    assert (caught.value.code, caught.value.param) == ("invalid_json", "messages")


@pytest.mark.parametrize("route", list(FIELDS))
def test_every_shape_has_a_reader_and_a_schema(route: Route) -> None:
    """Every field of the table can be read, pruned and described."""
    for field in FIELDS[route].values():
        assert field.why
        if field.shape is not None and field.name not in TEXT_OR_TOKENS:
            value = json.dumps(BASE[route][field.name] if field.required else None)
            assert (field.decoder.decode(value) is None) is not field.required
            assert field.layout != msgspec.inspect.AnyType()
            assert msgspec.json.schema(field.shape)
