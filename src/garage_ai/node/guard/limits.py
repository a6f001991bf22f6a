"""What the owner allows: typed, kept in the node's folder, each default with its reason."""

import json
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from garage_ai.catalog import Catalog
from garage_ai.node.errors import NotPossible
from garage_ai.node.guard.schedule import schedule
from garage_ai.wire.messages import Share
from garage_ai.wire.secret_files import SecretFileError, SecretMissing, read_secret, replace_secret

LIMITS: Final = "limits.json"

PriceArea = Literal["SE1", "SE2", "SE3", "SE4"]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Kwh = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
ProgramName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the node may serve, and whom. None is no limit.

    Sizes in bytes, times in seconds, prices in kronor per kWh without tax and fees.
    """

    share: Share = "all"
    """Whose requests it serves; sharing is what it joined for."""

    dedicated: bool = True
    """One batch may have the node for itself, for an hour at most; the others find other nodes."""

    pause_on: Annotated[tuple[ProgramName, ...], msgspec.Meta(max_length=100)] = ()
    """Programs that come first; nobody's list of games fits anybody else."""

    gamemode: bool = True
    """A game that asks GameMode for the whole PC means it."""

    gpu: bool = True
    """A game that finds its memory taken may not start."""

    gpu_memory: Annotated[int, msgspec.Meta(ge=1)] = 1536 * 2**20
    """Of one foreign process: more than a desktop or a browser takes, less than most games do."""

    gpu_use: Percent = 50.0
    """Of one foreign process: a video is decoded beside the cores counted here, a game is not."""

    max_cpu: Percent | None = None
    """Of all cores, by others. Off: the system's own scheduler is fair to them."""

    max_temperature: Annotated[float, msgspec.Meta(ge=30, le=120)] | None = None
    """Degrees Celsius. Off: cards slow down by themselves."""

    on_battery: bool = False
    """A battery is for the road."""

    on_metered: bool = False
    """Answers are small, but models are not."""

    schedule: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Empty is always."""

    idle: Annotated[float, msgspec.Meta(ge=1, le=7 * 86_400)] | None = None
    """Serve only when nobody has used the PC for so long. Off: most work beside it just as well."""

    max_price: Annotated[float, msgspec.Meta(ge=-10, le=100)] | None = None
    """Off: the node serves whatever electricity costs."""

    price_area: PriceArea | None = None
    """Where the PC is; nothing is guessed. With it kronor are counted, with or without a limit."""

    max_upload: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """A calendar month. Off: most Swedish lines are not counted."""

    max_kwh_day: Kwh | None = None
    """What lending may draw in a day, by the clock on the wall. Off: a price says more."""

    max_kwh_month: Kwh | None = None
    """What lending may draw in a calendar month. Off, as above."""

    disk: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """For weights that were fetched. Off: what does not fit the disk is refused anyway."""

    keep: Annotated[tuple[ModelName, ...], msgspec.Meta(max_length=100)] = ()
    """Models that are never removed to make room; the one that is served never is."""

    drain: Annotated[float, msgspec.Meta(ge=0, le=600)] = 20.0
    """What runs gets so long when the reason is not urgent; most answers are done by then."""

    resume_after: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 20.0
    """All must be clear for so long: a game restarted, or a level loading, is not the end of it."""


_decoder: Final = msgspec.json.Decoder(Limits)


def load_limits(folder: Path) -> Limits:
    """Read the limits of a node; the defaults where none were set. Raises: NotPossible."""
    try:
        return _decoder.decode(read_secret(folder / LIMITS))
    except SecretMissing:
        return Limits()
    except (SecretFileError, msgspec.MsgspecError) as error:
        raise NotPossible(
            "{folder} cannot be used: {error}",
            folder=folder / LIMITS,
            error=error,
        ) from error


def save_limits(folder: Path, limits: Limits) -> None:
    """Keep the limits of a node, as far as they are not the defaults.

    A version that knows fewer of them, as after a rollback, refuses the file only where its owner
    has set one that it does not know; and a better default of a later version is not held back.
    """
    defaults = msgspec.to_builtins(type(limits)())
    said = msgspec.to_builtins(limits)
    kept = {name: value for name, value in said.items() if value != defaults[name]}
    replace_secret(folder / LIMITS, json.dumps(kept, indent=2) + "\n")


def checked(limits: Limits, known: Catalog) -> Limits:
    """Check what types cannot say, and give the limits back. Raises: NotPossible."""
    try:
        limits = msgspec.convert(msgspec.to_builtins(limits), Limits)
    except msgspec.ValidationError as error:
        raise NotPossible(
            "That is no possible limit: {error}.",
            error=error,
        ) from error
    schedule(limits.schedule)
    for program in limits.pause_on:
        file = program.replace("\\", "/").rpartition("/")[2]
        if file != program:
            # What runs is known by its file's name alone, so a path would never be found.
            raise NotPossible(
                "{path} is a path; a program is named by its file alone: --pause-on {name}",
                path=program,
                name=repr(file),
            )
    for name in limits.keep:
        if known.by_name(name) is None:
            raise NotPossible("The catalogue has no model {name}.", name=repr(name))
    if limits.max_price is not None and limits.price_area is None:
        raise NotPossible("A price needs an area: --price-area SE1, SE2, SE3 or SE4.")
    return limits


__all__ = ["LIMITS", "Limits", "PriceArea", "checked", "load_limits", "save_limits"]
