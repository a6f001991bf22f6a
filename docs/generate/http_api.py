"""The page of the HTTP API, from the same OpenAPI description that `/openapi.json` serves."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, Final

from docs.generate.absent import ABSENT
from docs.generate.markdown import code, page, table
from docs.generate.schemas import fields_table, kind_of, named, reachable

from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import create_coordination
from garage_ai.gateway.errors import PROBLEMS
from garage_ai.gateway.fields import FIELDS, Field
from garage_ai.gateway.openapi import PATHS, describe
from garage_ai.gateway.services import Services

Json = dict[str, Any]

_ROUTES: Final = {path: route for route, path in PATHS.items()}
_PLAIN: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
_TITLES: Final = {
    "openai": "The OpenAI API",
    "batch": "Files and batches",
    "joining": "Nodes: joining",
    "nodes": "Nodes: looking after them",
    "images": "Images of engines",
    "manifests": "The catalogue of models",
    "tokens": "Enrolment tokens",
    "members": "Members",
    "me": "What is one's own",
    "keys": "Keys",
    "models": "Models",
    "usage": "Usage",
    "litellm": "LiteLLM proxies",
    "ledger": "The ledger",
    "prices": "Prices",
    "audit": "The log of acts",
    "operation": "Operation",
}

_INTRO = """
One port serves everything. A running gateway shows the same at `/docs` and gives it to programs at
`/openapi.json`.

- **Key.** `Authorization: Bearer gai_…`; `api-key` and `x-api-key` are taken too. Its scopes
  say what a key may do: `inference` opens `/v1`, `member` what is the member's own in `/api/v1`,
  `usage` lets a LiteLLM proxy tell of its calls, `admin` opens all of `/api/v1`. A key with any of
  them may ask `GET /api/v1/me`, prices, and its member's own ledger.
- **Errors** have OpenAI's envelope and a stable code, see [error codes](errors.md).
- **Headers of every answer:** `x-request-id`. Answers that a node gave also have `x-gai-node`,
  `x-gai-region` (`none` if unset) and `x-gai-trust`. They tell of the node that began: a stream
  may go on at another, in the region that was asked for and with no less trust. Which ones had a
  part in it is in the usage record.
- **Bodies** are JSON of at most 8 MB (`GAI_MAX_BODY`), on `/api/v1` 64 KiB
  (a manifest 1 MiB).
- Of the OpenAI API, what is not listed here answers 404 `unsupported_endpoint`.
"""

_STREAMING = """
### Streams

With `"stream": true` the answer is server-sent events: the engine's own chunks, unchanged but for
[what the wire protocol lists](wire.md#an-attempt), and `data: [DONE]` at the end of a whole answer.
Headers come with the first content, so that until then another node may be tried without the
client noticing. Usage comes as a last chunk if
`stream_options.include_usage` asks for it. Should the node be lost after content has begun, an
event `data: {"error": …}` follows and the stream ends without `[DONE]`. A client that hangs up
stops the work on the node.
"""


_BATCHES = """
### Lines and states

A file of requests is JSONL: a line for each,
`{"custom_id": …, "method": "POST", "url": …, "body": …}`. `url` is the batch's `endpoint`,
`custom_id` stands once in the file, `body` is what the endpoint takes and does not stream, and all
name one model. All lines are looked at first (`validating`). Where one is wrong the batch is
`failed`, and `errors` names line, place and reason, a hundred of them at most:
`invalid_json_line`, `invalid_request`, `url_mismatch`, `mismatched_model`, `duplicate_custom_id`,
`empty_file`, or the code with which the endpoint itself would refuse the body.

Then it is `in_progress` until every request has its one result, `finalizing` while the files are
written, and `completed`. Answers with status 200 are in the output file, all others in the error
file, both in the order of the input's lines; a file that would be empty is not made. A batch that
is cancelled, or whose window ends, keeps what was answered by then, and for what runs a minute is
given; the rest is in the error file with `batch_cancelled` or `batch_expired`, and counts as
failed. It is `isolation_unavailable` there where no engine for the batch alone answered anything
within the window, and `worker_lost` where one gateway after another stopped while it had the
request.

A file is there for `GAI_BATCH_FILE_DAYS`, unless `expires_after` or `output_expires_after` says
otherwise, and then gone at once; a batch that was submitted before reads it to its end. Lists of
files go on from behind one that was deleted (`after`) for a day.
"""

_EXTRA: Final = {"openai": _STREAMING, "batch": _BATCHES}


def described() -> Json:
    """Give the description without starting a gateway."""
    needed = [each for each in fields(Services) if each.default is each.default_factory is MISSING]
    services = Services(*[ABSENT] * len(needed))
    doorkeeper = Doorkeeper(ABSENT, lambda: None, lambda _: None)
    return describe(create_coordination(services, doorkeeper))


def made() -> str:
    """Write the page."""
    api = described()
    shared = _Shared(api)
    parts = [_section(api, tag, shared) for tag in _TITLES]
    shapes = [_shape(api, name) for name in reachable(api, _is_ours)]
    source = "src/garage_ai/gateway/"
    return page("HTTP API", source, _INTRO, shared.told(), *parts, "## Shapes", *shapes)


def _is_ours(path: str) -> bool:
    return path not in _ROUTES


class _Shared:
    """The errors that every route may answer, told once."""

    def __init__(self, api: Json) -> None:
        operations = [each for path, _, each in _operations(api) if path not in _PLAIN]
        with_key = [each for each in operations if each["security"]]
        self.always = set.intersection(*(set(_codes(each)) for each in operations))
        self.keyed = set.intersection(*(set(_codes(each)) for each in with_key)) - self.always

    def told(self) -> str:
        """List them."""
        always, keyed = _listed(self.always), _listed(self.keyed)
        return (
            f"Every route may answer with {always}; every route that needs a key also with "
            f"{keyed}. What a route may answer besides stands with it."
        )

    def own(self, operation: Json) -> list[str]:
        """Give the errors of one route alone."""
        return [c for c in _codes(operation) if c not in self.always | self.keyed]


def _section(api: Json, tag: str, shared: _Shared) -> str:
    routes = [_route(*each, shared) for each in _operations(api) if tag in each[2]["tags"]]
    extra = _EXTRA.get(tag, "").strip()
    return "\n\n".join(part for part in (f"## {_TITLES[tag]}", *routes, extra) if part)


def _operations(api: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _route(path: str, method: str, operation: Json, shared: _Shared) -> str:
    blocks = [f"### {method.upper()} {path}", _about(path, operation)]
    # What a parameter of the path is, the path says.
    said = [each for each in operation.get("parameters", []) if each.get("in") != "path"]
    parameters = [_parameter(each) for each in said]
    if parameters:
        blocks.append(table(["parameter", "kind", "meaning"], parameters))
    if path in _ROUTES:
        blocks.append(_fields(path))
    blocks.append("\n".join(_in_and_out(operation, shared)))
    return "\n\n".join(blocks)


def _about(path: str, operation: Json) -> str:
    about = operation.get("description") or operation["summary"]
    if path in _ROUTES:
        about = f"{operation['summary']}. {about}"
    elif not about.endswith((".", "?")):
        about += "."
    paragraphs = [" ".join(part.split()) for part in about.split("\n\n")]
    if not operation["security"]:
        paragraphs.append("Needs no key.")
    return "\n\n".join(paragraphs)


def _parameter(parameter: Json) -> tuple[str, str, str]:
    schema = parameter["schema"]
    default = schema.get("default")
    about = parameter.get("description", "")
    if default is not None:
        about = f"{about} Default `{default}`.".strip()
    return code(parameter["name"]), f"{kind_of(schema)}; in the {parameter['in']}", about


def _fields(path: str) -> str:
    rows = [
        (code(field.name) + (" (required)" if field.required else ""), _fate(field), field.why)
        for field in FIELDS[_ROUTES[path]].values()
    ]
    return table(["field", "what becomes of it", "bounds or reason"], rows)


def _fate(field: Field) -> str:
    match field.fate:
        case "pass":
            return "goes to the engine"
        case "rename":
            return f"goes to the engine as `{field.sent_as}`"
        case "keep":
            return "done by the gateway"
        case "drop":
            return "left out and named"


def _in_and_out(operation: Json, shared: _Shared) -> Iterator[str]:
    body = operation.get("requestBody")
    shape = body and named(next(iter(body["content"].values()))["schema"])
    if shape:
        yield f"- Takes {shape}."
    for status, answer in operation["responses"].items():
        if int(status) < 400:
            yield f"- Answers {status}{_given(answer)}."
    errors = [f"`{each}` ({PROBLEMS[each].status})" for each in shared.own(operation)]
    if errors:
        yield f"- Or {', '.join(errors)}."


def _given(answer: Json) -> str:
    content: Json = answer.get("content", {})
    kinds = [named(each.get("schema", {})) or code(media) for media, each in content.items()]
    return f" with {' or '.join(kinds)}" if kinds else ""


def _codes(operation: Json) -> list[str]:
    said = [
        each["description"] for status, each in operation["responses"].items() if int(status) >= 400
    ]
    return [found for text in said for found in re.findall(r"`(\w+)`: ", text)]


def _listed(codes: set[str]) -> str:
    return ", ".join(code(name) for name in PROBLEMS if name in codes)


def _shape(api: Json, name: str) -> str:
    return f"### {name}\n\n{fields_table(api['components']['schemas'][name])}"
