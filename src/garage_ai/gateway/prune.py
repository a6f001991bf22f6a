"""Cut out of a JSON value what its shape does not name, and tell what was cut.

The slow path: only a request that holds something unknown comes here.
"""

from typing import Any

from msgspec import inspect


def prune(value: Any, shape: inspect.Type, path: str, cut: set[str]) -> Any:
    """Give the value without members that `shape` does not know; their paths go into `cut`.

    What does not fit at all is given back as it is: the strict reading that follows says why.
    """
    if isinstance(shape, inspect.UnionType):
        chosen = _choose(value, shape)
        return value if chosen is None else prune(value, chosen, path, cut)
    if isinstance(shape, inspect.ListType) and isinstance(value, list):
        return [prune(item, shape.item_type, path, cut) for item in value]
    if isinstance(shape, inspect.StructType) and isinstance(value, dict):
        return _prune_object(value, shape, path, cut)
    return value


def _prune_object(
    value: dict[str, Any], shape: inspect.StructType, path: str, cut: set[str]
) -> dict[str, Any]:
    known = {field.encode_name: field.type for field in shape.fields}
    kept: dict[str, Any] = {}
    for name, member in value.items():
        if name in known:
            kept[name] = prune(member, known[name], f"{path}.{name}", cut)
        elif name == shape.tag_field:
            kept[name] = member
        else:
            cut.add(f"{path}.{name}")
    return kept


def _choose(value: Any, shape: inspect.UnionType) -> inspect.Type | None:
    for option in shape.types:
        plain = option.type if isinstance(option, inspect.Metadata) else option
        if isinstance(value, list) and isinstance(plain, inspect.ListType):
            return plain
        if (
            isinstance(value, dict)
            and isinstance(plain, inspect.StructType)
            and (plain.tag_field is None or value.get(plain.tag_field) == plain.tag)
        ):
            return plain
    return None


__all__ = ["prune"]
