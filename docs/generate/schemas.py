"""JSON Schema in words, and which named shapes a part of the API uses."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from docs.generate.markdown import code, table

Json = dict[str, Any]

_REF: Final = "#/components/schemas/"
_PLAIN: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}
_LONGEST_PATTERN: Final = 40


def fields_table(schema: Json) -> str:
    """Show the members of an object; of one that is sent, which of them are required."""
    is_asked = schema.get("additionalProperties") is False
    required = set(schema.get("required", ())) if is_asked else set()
    rows = [
        (code(name) + (" (required)" if name in required else ""), kind_of(each), _about(each))
        for name, each in schema["properties"].items()
    ]
    return table(["field", "kind", "meaning"], rows)


def kind_of(schema: Json) -> str:
    """Say in words what a value is."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "enum" in schema:
        *most, last = (code(f'"{each}"') for each in schema["enum"])
        return f"{', '.join(most)} or {last}" if most else last
    if "anyOf" in schema:
        kinds = dict.fromkeys(kind_of(each) for each in schema["anyOf"])
        return " or ".join(kinds)
    return _plain_kind(schema) if "type" in schema else ""


def _plain_kind(schema: Json) -> str:
    if schema["type"] == "array":
        return f"list of {kind_of(schema['items'])}" if "items" in schema else "list"
    if schema.get("format") == "date-time":
        return "moment (ISO 8601)"
    return _PLAIN[schema["type"]] + _bounds(schema)


def named(schema: Json) -> str:
    """Link to a shape; nothing for one without a name."""
    return _link(schema["$ref"]) if "$ref" in schema else ""


def reachable(api: Json, wanted: Callable[[str], bool]) -> list[str]:
    """Name the shapes that these paths use, directly or not, in the order of the description."""
    schemas: Json = api["components"]["schemas"]
    found: set[str] = set()
    ahead = [ref for path, each in api["paths"].items() if wanted(path) for ref in _refs(each)]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += _refs(schemas[name])
    return [name for name in schemas if name in found]


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix(_REF)
        for each in value.values():
            yield from _refs(each)
    elif isinstance(value, list):
        for each in value:
            yield from _refs(each)


def _link(ref: str) -> str:
    name = ref.removeprefix(_REF)
    return f"[{name}](#{name.lower()})"


def _bounds(schema: Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    pattern = schema.get("pattern", "")
    if pattern:
        return f" like `{pattern}`" if len(pattern) <= _LONGEST_PATTERN else ""
    if schema["type"] == "string" or low is None or high is None or high >= 2**53:
        return ""
    return f", {low:g} to {high:.0f}" if schema["type"] == "integer" else f", {low:g} to {high:g}"


def _about(schema: Json) -> str:
    about = str(schema.get("description", ""))
    default = schema.get("default")
    if default not in (None, "") and not isinstance(default, list | dict):
        shown = str(default).lower() if isinstance(default, bool) else default
        about = f"{about} Default `{shown}`.".strip()
    return about
