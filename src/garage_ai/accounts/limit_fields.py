"""Check the settings of limits before they are kept."""

from typing import Final

from garage_ai.accounts.errors import InvalidField
from garage_ai.accounts.fields import checked_region
from garage_ai.accounts.limit_models import COLUMN, LimitSettings

LARGEST: Final = 2**63 - 1
MAX_MODELS: Final = 100
LONGEST_MODEL: Final = 255


def checked_settings(settings: LimitSettings) -> LimitSettings:
    """Give settings back that can be kept. Raises: InvalidField."""
    for name in COLUMN.values():
        value: int | None = getattr(settings, name)
        if value is not None and not 0 <= value <= LARGEST:
            raise InvalidField(name, f"0 to {LARGEST}, or null for no limit")
    _check_models(settings.models)
    for region in settings.regions or ():
        try:
            checked_region(region)
        except InvalidField as error:
            raise InvalidField("regions", str(error)) from error
    if settings.expires_at is not None and settings.expires_at.tzinfo is None:
        raise InvalidField("expires_at", "a moment with its time zone")
    return settings


def _check_models(models: frozenset[str] | None) -> None:
    if models is None:
        return
    if len(models) > MAX_MODELS:
        raise InvalidField("models", f"{MAX_MODELS} names at most")
    if not all(1 <= len(name) <= LONGEST_MODEL and name.isprintable() for name in models):
        raise InvalidField("models", f"names of 1 to {LONGEST_MODEL} printable characters")


__all__ = ["LARGEST", "LONGEST_MODEL", "MAX_MODELS", "checked_settings"]
