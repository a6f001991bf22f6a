"""Cut out of a JSON value what its shape does not name, and tell what was cut.

The slow path: only a request that holds something unknown comes here. What is cut is never read,
since a few megabytes of it can be millions of parts.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import inspect

from garage_ai.gateway.errors import BadRequest

MAX_CUT: Final = 256
"""Fields that are left out of one request: the API knows some forty."""

_Json = bytes | msgspec.Raw

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_texts: Final = msgspec.json.Decoder(str)
_encoder: Final = msgspec.json.Encoder()


def prune(value: _Json, shape: inspect.Type, path: str, cut: set[str]) -> _Json:
    """Give the value without members that `shape` does not know; their paths go into `cut`.

    What does not fit at all is given back as it is: the strict reading that follows says why.
    Raises: BadRequest where there is too much of anything, UnicodeDecodeError.
    """
    first = bytes(memoryview(value)[:1])
    if isinstance(shape, inspect.UnionType):
        chosen = _choose(value, first, shape)
        return value if chosen is None else prune(value, chosen, path, cut)
    if isinstance(shape, inspect.ListType) and first == b"[":
        items = _items.decode(value)
        if shape.max_length is not None and len(items) > shape.max_length:
            message = f"'{path}': Expected `array` of length <= {shape.max_length}."
            raise BadRequest("invalid_value", message, param=path)
        return b"[%b]" % b",".join([prune(item, shape.item_type, path, cut) for item in items])
    if isinstance(shape, inspect.StructType) and first == b"{":
        return _prune_object(_members.decode(value), shape, path, cut)
    return value


def _prune_object(
    members: Mapping[str, msgspec.Raw], shape: inspect.StructType, path: str, cut: set[str]
) -> bytes:
    known = {field.encode_name: field.type for field in shape.fields}
    kept: list[bytes] = []
    for name, member in members.items():
        if name in known:
            pruned = prune(member, known[name], f"{path}.{name}", cut)
            kept.append(_encoder.encode(name) + b":" + bytes(pruned))
        elif name == shape.tag_field:
            kept.append(_encoder.encode(name) + b":" + bytes(member))
        else:
            cut.add(f"{path}.{name}")
            if len(cut) > MAX_CUT:
                raise BadRequest("too_many_fields", param=path)
    return b"{%b}" % b",".join(kept)


def _choose(value: _Json, first: bytes, shape: inspect.UnionType) -> inspect.Type | None:
    options = [each.type if isinstance(each, inspect.Metadata) else each for each in shape.types]
    if first == b"[":
        return next((each for each in options if isinstance(each, inspect.ListType)), None)
    if first != b"{":
        return None
    members = _members.decode(value)
    for option in options:
        if isinstance(option, inspect.StructType) and _is_tagged(members, option):
            return option
    return None


def _is_tagged(members: Mapping[str, msgspec.Raw], shape: inspect.StructType) -> bool:
    if shape.tag_field is None:
        return True
    try:
        return _texts.decode(members.get(shape.tag_field, b"")) == shape.tag
    except msgspec.DecodeError:
        return False


__all__ = ["MAX_CUT", "prune"]
