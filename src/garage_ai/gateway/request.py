"""Read a request's body: check it by the table of fields and make the body for the engine."""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from garage_ai.gateway import shapes
from garage_ai.gateway.errors import BadRequest
from garage_ai.gateway.fields import FIELDS, TEXT_OR_TOKENS, Field
from garage_ai.gateway.prune import MAX_CUT, prune
from garage_ai.serving.models import Bound
from garage_ai.wire.frames import Route

MAX_DEPTH: Final = 32
MAX_SCHEMA: Final = 64 * 1024

_MOST_QUOTES: Final = 200_000
"""Of names and texts in a body: 2,048 messages with 128 tools of the usual size have fewer."""

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)
_STREAMED: Final = b',"stream":true,"stream_options":{"include_usage":true}}'


class Reading(msgspec.Struct, frozen=True):
    """What a request asks, and the body for the engine, which begins with its `model`."""

    model: str
    stream: bool
    include_usage: bool
    body: bytes
    dropped: frozenset[str]
    bound: Bound


def read_request(route: Route, body: bytes) -> Reading:
    """Check the body of a request and cut it to what engines may see.

    Raises: BadRequest, and nothing else, whatever the bytes.
    """
    table = FIELDS[route]
    given = _members(body)
    values: dict[str, Any] = {}
    sent: dict[bytes, bytes | msgspec.Raw] = {}
    dropped: set[str] = set()
    unread = MAX_SCHEMA
    for name, raw in given.items():
        field = table.get(name)
        if field is None or field.fate == "drop":
            unread -= len(memoryview(raw))
            if unread >= 0:
                _bound_dropped(name, raw)
            dropped.add(name)
            if len(dropped) > MAX_CUT:
                raise BadRequest("too_many_fields")
            continue
        value, checked = _read_field(field, raw, dropped)
        if value is None:
            continue
        values[name] = value
        if field.fate == "rename" or (field.fate == "pass" and field.prefix not in sent):
            sent[field.prefix] = checked
    _require(table, values)
    _CHECKS[route](values)
    if any(isinstance(each, shapes.DeveloperMessage) for each in values.get("messages", ())):
        place = table["messages"].prefix
        sent[place] = _known_roles(sent[place], values["messages"])
    stream = values.get("stream", False)
    options = values.get("stream_options")
    return Reading(
        values["model"],
        stream,
        bool(options and options.include_usage),
        _write(sent, stream=stream),
        frozenset(dropped),
        _BOUNDS[route](values),
    )


def _write(sent: dict[bytes, bytes | msgspec.Raw], *, stream: bool) -> bytes:
    model = sent.pop(b',"model":')
    rest = chain.from_iterable(sent.items())
    return b"".join((b'{"model":', model, *rest, _STREAMED if stream else b"}"))


_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_SYSTEM: Final = msgspec.Raw(b'"system"')


def _known_roles(messages: bytes | msgspec.Raw, read: Sequence[object]) -> bytes:
    """Call developers system: most models' templates leave out a role that they do not know."""
    found = _objects.decode(messages)
    for raw, message in zip(found, read, strict=True):
        if isinstance(message, shapes.DeveloperMessage):
            raw["role"] = _SYSTEM
    return msgspec.json.encode(found)


def _members(body: bytes) -> dict[str, msgspec.Raw]:
    # A member begins with a quote that no backslash stands before; large texts have few of those.
    if body.count(b'"') - body.count(b'\\"') > _MOST_QUOTES:
        raise BadRequest("too_many_fields")
    try:
        return _object.decode(body)
    except RecursionError:
        raise BadRequest("json_too_deep") from None
    except msgspec.ValidationError:
        raise BadRequest("invalid_json", "The body is JSON, but not an object.") from None
    except _UNREADABLE as error:
        raise BadRequest("invalid_json", f"The body is not JSON: {_words(error)}") from None


def _read_field(
    field: Field, raw: msgspec.Raw, dropped: set[str]
) -> tuple[Any, bytes | msgspec.Raw]:
    """Give the field's value and the bytes to send for it."""
    if field.name in TEXT_OR_TOKENS:
        return _read_text_or_tokens(field.name, raw), raw
    try:
        return field.decoder.decode(raw), raw
    except msgspec.ValidationError as error:
        if "unknown field" not in str(error):
            raise _refusal(field.name, error) from None
    except _UNREADABLE as error:
        raise _refusal(field.name, error) from None
    return _read_pruned(field, raw, dropped)


def _read_pruned(field: Field, raw: msgspec.Raw, dropped: set[str]) -> tuple[Any, bytes]:
    try:
        pruned = bytes(prune(raw, field.layout, field.name, dropped))
        return field.decoder.decode(pruned), pruned
    except RecursionError:
        raise BadRequest("json_too_deep", param=field.name) from None
    except _UNREADABLE as error:
        raise _refusal(field.name, error) from None


_SEQUENCES: Final = {
    name: tuple(shapes.decoder(shape) for shape in shapes.sequence_types(most))
    for name, most in (("prompt", shapes.MAX_PROMPTS), ("input", shapes.MAX_INPUTS))
}
_ARRAY_START: Final = re.compile(rb"\s*\[\s*(.)", re.DOTALL)


def _read_text_or_tokens(name: str, raw: msgspec.Raw) -> Any:
    text, texts, tokens, many = _SEQUENCES[name]
    start = _ARRAY_START.match(raw)
    reader = {b'"': texts, b"[": many}.get(start[1], tokens) if start else text
    try:
        return reader.decode(raw)
    except _UNREADABLE as error:
        raise _refusal(name, error) from None


_PLACE: Final = re.compile(r" - at `\$([^`]*)`\Z")
_MISSING: Final = re.compile(r"required field `([^`]+)`")


def _refusal(name: str, error: Exception) -> BadRequest:
    """Turn a reader's words into an error that names the place."""
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("invalid_json", "The body is not UTF-8.", param=name)
    words = str(error)
    place = _PLACE.search(words)
    param = name + place[1] if place else name
    missing = _MISSING.search(words)
    if missing:
        param = f"{param}.{missing[1]}"
        return BadRequest("missing_required_parameter", f"'{param}' is missing.", param=param)
    said = _PLACE.sub("", words)[:300]
    return BadRequest("invalid_value", f"'{param}': {said}.", param=param)


def _words(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)[:200]


def _require(table: dict[str, Field], values: dict[str, Any]) -> None:
    for name in _REQUIRED[id(table)]:
        if name not in values:
            message = f"'{name}' is missing."
            raise BadRequest("missing_required_parameter", message, param=name)
    if not values["model"].isprintable():
        raise BadRequest("invalid_value", "'model': not a name.", param="model")


_REQUIRED: Final = {
    id(table): tuple(field.name for field in table.values() if field.required)
    for table in FIELDS.values()
}


# Depth and size of what has no known shape


_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))


def depth_of(raw: bytes | msgspec.Raw) -> int:
    """Tell how deep a valid JSON value nests; stops counting beyond `MAX_DEPTH`."""
    brackets = _TEXTS.sub(b"", bytes(raw)).translate(_ALIKE, _OTHERS)
    depth = 0
    while brackets and depth <= MAX_DEPTH:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


def _bound_dropped(name: str, raw: msgspec.Raw) -> None:
    # Nothing reads what is dropped; what is large is not worth the time of counting.
    if depth_of(raw) + 1 > MAX_DEPTH:
        raise BadRequest("json_too_deep", param=name[:64])


def _bound_free(raw: msgspec.Raw, param: str) -> None:
    """Check an object without a known shape, such as a JSON schema."""
    size = len(memoryview(raw))
    if size == 0 or bytes(raw) == b"null":
        return
    if size > MAX_SCHEMA:
        raise BadRequest(
            "invalid_value", f"'{param}': larger than {MAX_SCHEMA} bytes.", param=param
        )
    # Four levels stand above the deepest such object.
    if depth_of(raw) + 4 > MAX_DEPTH:
        raise BadRequest("json_too_deep", param=param)
    # It was read over as JSON with the body. Making its parts could take seconds.
    try:
        whole = bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise _refusal(param, error) from None
    if not whole.lstrip().startswith("{"):
        raise BadRequest("invalid_value", f"'{param}': Expected `object`.", param=param)


# What a shape cannot say


def _check_chat(values: dict[str, Any]) -> None:
    for number, message in enumerate(values["messages"]):
        if isinstance(message.content, list):
            for place, part in enumerate(message.content):
                _check_part(part, f"messages[{number}].content[{place}]")
    for number, tool in enumerate(values.get("tools", ())):
        _check_tool(tool, f"tools[{number}]")
    for number, function in enumerate(values.get("functions", ())):
        _bound_free(function.parameters, f"functions[{number}].parameters")
    answer = values.get("response_format")
    if isinstance(answer, shapes.JsonSchemaFormat):
        _bound_free(answer.json_schema.schema, "response_format.json_schema.schema")
    if "audio" in values.get("modalities", ()):
        message = "No engine here answers in audio."
        raise BadRequest("unsupported_value", message, param="modalities")


def _check_tool(tool: shapes.FunctionTool | shapes.CustomTool, place: str) -> None:
    if isinstance(tool, shapes.FunctionTool):
        _bound_free(tool.function.parameters, f"{place}.function.parameters")
    else:
        _bound_free(tool.custom.format, f"{place}.custom.format")


_OTHER_SCHEME: Final = re.compile(r"\s*(?!data:)[A-Za-z][A-Za-z0-9+.-]{0,31}:")


def _check_part(part: shapes.Part, place: str) -> None:
    """Refuse media that an engine would have to fetch. Raises: BadRequest."""
    match part:
        case shapes.ImagePart(image_url=image) if not image.url.startswith("data:"):
            raise BadRequest("media_url_unsupported", param=f"{place}.image_url.url")
        case shapes.AudioPart(input_audio=audio) if _OTHER_SCHEME.match(audio.data):
            raise BadRequest("media_url_unsupported", param=f"{place}.input_audio.data")
        case shapes.FilePart(file=file):
            if file.file_data is None or file.file_id is not None:
                message = "Files are taken as file_data, not by an id."
                raise BadRequest("unsupported_value", message, param=f"{place}.file.file_id")
            if _OTHER_SCHEME.match(file.file_data):
                raise BadRequest("media_url_unsupported", param=f"{place}.file.file_data")


def _check_completion(values: dict[str, Any]) -> None:
    prompt = values["prompt"]
    many = isinstance(prompt, list) and not isinstance(prompt[0], int)
    choices = max(values.get("n", 1), values.get("best_of", 1))
    if (len(prompt) if many else 1) * choices > shapes.MAX_PROMPTS:
        message = f"Prompts times n are at most {shapes.MAX_PROMPTS}."
        raise BadRequest("invalid_value", message, param="n")


def _check_embedding(values: dict[str, Any]) -> None:
    """All of it stands in the shapes."""


_CHECKS: Final[dict[Route, Callable[[dict[str, Any]], None]]] = {
    "chat": _check_chat,
    "completions": _check_completion,
    "embeddings": _check_embedding,
}


# How much the answer may be


def _chat_bound(values: dict[str, Any]) -> Bound:
    most = values.get("max_completion_tokens", values.get("max_tokens"))
    in_parts = [each.content for each in values["messages"] if isinstance(each.content, list)]
    media = [part for parts in in_parts for part in parts if isinstance(part, shapes.Medium)]
    return Bound(most, values.get("n", 1), media=len(media))


def _completion_bound(values: dict[str, Any]) -> Bound:
    prompt = values["prompt"]
    many = isinstance(prompt, list) and not isinstance(prompt[0], int)
    prompts = len(prompt) if many else 1
    answers = max(values.get("n", 1), values.get("best_of", 1))
    return Bound(values.get("max_tokens"), answers * prompts, prompts)


def _no_answer(_: dict[str, Any]) -> Bound:
    return Bound(0, 0)


_BOUNDS: Final[dict[Route, Callable[[dict[str, Any]], Bound]]] = {
    "chat": _chat_bound,
    "completions": _completion_bound,
    "embeddings": _no_answer,
}


__all__ = ["MAX_DEPTH", "MAX_SCHEMA", "Reading", "depth_of", "read_request"]
