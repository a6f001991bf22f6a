"""Which settings the log of acts tells of: rules and bounds, no places and no secrets."""

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from garage_ai.audit.models import Detail
from garage_ai.settings import GatewaySettings

_TEXTS: Final = frozenset({"min_agent", "log_level", "limits_fail"})
"""Any other text may be an address, a path or a secret."""
_PLACES: Final = frozenset({"port"})


def kept_settings(settings: GatewaySettings) -> tuple[Mapping[str, Detail], Mapping[str, Detail]]:
    """Give the settings that belong into the log, and their defaults."""
    now = dict(_told(settings))
    fields = type(settings).model_fields
    defaults = ((name, fields[name].get_default()) for name in now)
    return now, {name: _detail(value) for name, value in defaults}


def _told(settings: GatewaySettings) -> Iterator[tuple[str, Detail]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        plain = isinstance(value, bool | int | float) and not isinstance(field.default, str)
        # An amount that may be unset is told also when it is: taking it away is a change.
        unset = value is None and int in get_args(field.annotation)
        if ((plain or unset) and name not in _PLACES) or name in _TEXTS:
            yield name, _detail(value)


def _detail(value: object) -> Detail:
    """Give a value as the log keeps it: one without fractions."""
    if isinstance(value, float):
        return str(value)
    return value if isinstance(value, str | int | bool) else None


__all__ = ["kept_settings"]
