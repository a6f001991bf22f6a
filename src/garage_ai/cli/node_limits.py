"""`gai node limits`: when the node may serve."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_words import say
from garage_ai.cli.options import AsJson, NodeDir

if TYPE_CHECKING:
    from garage_ai.node.folder import NodeFolder
    from garage_ai.node.guard.limits import Limits

OFF: Final = "off"

_SIZES: Final = ("gpu_memory", "max_upload", "disk")
_TIMES: Final = ("idle", "drain", "resume_after")
_NUMBERS: Final = (
    *("gpu_use", "max_cpu", "max_temperature", "max_price"),
    *("max_kwh_day", "max_kwh_month"),
)
_UNITS: Final = {
    "gpu_use": " %",
    "max_cpu": " %",
    "max_temperature": " °C",
    "max_price": " kr/kWh",
    "max_kwh_day": " kWh",
    "max_kwh_month": " kWh",
}

Text = str | None
Flag = bool | None


Sharing = Annotated[
    Literal["own", "members", "all"] | None, typer.Option("--share", help=say("limits.share"))
]


def limits(
    *,
    share: Sharing = None,
    dedicated: Annotated[
        Flag, typer.Option("--dedicated/--not-dedicated", help=say("limits.dedicated"))
    ] = None,
    pause_on: Annotated[
        list[str] | None,
        typer.Option("--pause-on", metavar="NAME", help=say("limits.pause_on")),
    ] = None,
    schedule: Annotated[
        Text, typer.Option("--schedule", metavar="HOURS", help=say("limits.schedule"))
    ] = None,
    max_price: Annotated[
        Text, typer.Option("--max-price", metavar="KR", help=say("limits.max_price"))
    ] = None,
    price_area: Annotated[
        Literal["SE1", "SE2", "SE3", "SE4", "off"] | None,
        typer.Option("--price-area", help=say("limits.price_area")),
    ] = None,
    max_upload: Annotated[
        Text, typer.Option("--max-upload", metavar="SIZE", help=say("limits.max_upload"))
    ] = None,
    max_kwh_day: Annotated[
        Text, typer.Option("--max-kwh-day", metavar="KWH", help=say("limits.max_kwh_day"))
    ] = None,
    max_kwh_month: Annotated[
        Text, typer.Option("--max-kwh-month", metavar="KWH", help=say("limits.max_kwh_month"))
    ] = None,
    disk: Annotated[Text, typer.Option("--disk", metavar="SIZE", help=say("limits.disk"))] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="MODEL", help=say("limits.keep"))
    ] = None,
    max_cpu: Annotated[
        Text, typer.Option("--max-cpu", metavar="PERCENT", help=say("limits.max_cpu"))
    ] = None,
    max_temperature: Annotated[
        Text,
        typer.Option("--max-temperature", metavar="DEGREES", help=say("limits.max_temperature")),
    ] = None,
    idle: Annotated[Text, typer.Option("--idle", metavar="TIME", help=say("limits.idle"))] = None,
    on_battery: Annotated[
        Flag, typer.Option("--on-battery/--not-on-battery", help=say("limits.on_battery"))
    ] = None,
    on_metered: Annotated[
        Flag, typer.Option("--on-metered/--not-on-metered", help=say("limits.on_metered"))
    ] = None,
    gamemode: Annotated[
        Flag, typer.Option("--gamemode/--no-gamemode", help=say("limits.gamemode"))
    ] = None,
    gpu: Annotated[Flag, typer.Option("--gpu/--no-gpu", help=say("limits.gpu"))] = None,
    gpu_memory: Annotated[
        Text, typer.Option("--gpu-memory", metavar="SIZE", help=say("limits.gpu_memory"))
    ] = None,
    gpu_use: Annotated[
        Text, typer.Option("--gpu-use", metavar="PERCENT", help=say("limits.gpu_use"))
    ] = None,
    drain: Annotated[
        Text, typer.Option("--drain", metavar="TIME", help=say("limits.drain"))
    ] = None,
    resume_after: Annotated[
        Text, typer.Option("--resume-after", metavar="TIME", help=say("limits.resume_after"))
    ] = None,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the limits, with what was said in place of what was set before."""
    from garage_ai.cli.node_run import folder_here

    said: dict[str, object] = {
        "share": share,
        "dedicated": dedicated,
        "schedule": schedule,
        "max_price": max_price,
        "price_area": price_area,
        "max_upload": max_upload,
        "max_kwh_day": max_kwh_day,
        "max_kwh_month": max_kwh_month,
        "disk": disk,
        "max_cpu": max_cpu,
        "max_temperature": max_temperature,
        "idle": idle,
        "on_battery": on_battery,
        "on_metered": on_metered,
        "gamemode": gamemode,
        "gpu": gpu,
        "gpu_memory": gpu_memory,
        "gpu_use": gpu_use,
        "drain": drain,
        "resume_after": resume_after,
    }
    changes = {name: value for name, value in said.items() if value is not None}
    for name, several in (("pause_on", pause_on), ("keep", keep)):
        if several:
            changes[name] = tuple(each for each in several if each != OFF)
    now = _changed(folder_here(data_dir), changes)
    if as_json:
        output.write_json(now)
        return
    for line in lines(now):
        output.write(line)


def set_share(folder: "NodeFolder", share: str | None) -> None:
    """Keep whom a node that is about to start serves, if that was said. Raises: CliError."""
    from garage_ai.cli.node_run import guarded
    from garage_ai.node.guard.limits import load_limits, save_limits

    if share is not None:
        folder.prepare()
        before = guarded(lambda: load_limits(folder.path))
        save_limits(folder.path, with_changes(folder, before, {"share": share}))


def with_changes(folder: "NodeFolder", limits: "Limits", changes: dict[str, object]) -> "Limits":
    """Put what was said in place of what was set. Raises: NotPossible."""
    import msgspec

    from garage_ai.node.catalogue import known_models
    from garage_ai.node.guard.limits import checked

    changed = msgspec.structs.replace(limits, **_read(changes))
    return checked(changed, known_models(folder.path))


def _read(changes: dict[str, object]) -> dict[str, object]:
    """Turn what was typed into values; `off` into the default. Raises: NotPossible."""
    from garage_ai.node.errors import NotPossible
    from garage_ai.node.guard.limits import Limits
    from garage_ai.node.guard.quantities import duration, size

    defaults = Limits()
    read: dict[str, object] = {}
    for name, value in changes.items():
        if value == OFF:
            read[name] = getattr(defaults, name)
        elif not isinstance(value, str):
            read[name] = value
        elif name in _SIZES:
            read[name] = size(value)
        elif name in _TIMES:
            read[name] = duration(value)
        elif name in _NUMBERS:
            try:
                read[name] = float(value.replace(",", "."))
            except ValueError:
                raise NotPossible(
                    "{text!r} is not a number; write it as 50 or 1.5.", text=value
                ) from None
        else:
            read[name] = value
    return read


def _changed(folder: "NodeFolder", changes: dict[str, object]) -> "Limits":
    """Keep the limits and tell a running agent. Raises: CliError."""
    from garage_ai.cli.node_run import guarded
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import NoAgent
    from garage_ai.node.guard.limits import load_limits, save_limits

    before = guarded(lambda: load_limits(folder.path))
    if not changes:
        return before
    guarded(folder.load)
    now = guarded(lambda: with_changes(folder, before, changes))
    save_limits(folder.path, now)
    if changes.keys() & {"disk", "keep"}:
        _tidy(folder)
    try:
        ask_agent(folder.run, "limits")
    except NoAgent:
        output.remark(say("limits.later"))
    return now


def _tidy(folder: "NodeFolder") -> None:
    """Remove models that were fetched and have no room now, and say which. Raises: CliError."""
    import asyncio

    from garage_ai.catalog import CatalogError
    from garage_ai.node.guard.quantities import shown_size
    from garage_ai.node.weights import tidy

    try:
        removed = asyncio.run(tidy(folder))
    except CatalogError as error:
        words = say("limits.not_tidied", reason=str(error).rstrip("."))
        raise Failed(words, say("limits.not_tidied.next")) from error
    for each in removed:
        output.remark(say("limits.removed", name=each.name, size=shown_size(each.size)))


def lines(limits: "Limits") -> list[str]:
    """Put the limits into a table, each with the option that sets it."""
    names = limits.__struct_fields__
    width = max(map(len, names)) + 2
    return [
        f"--{name.replace('_', '-'):<{width}}{shown(name, getattr(limits, name))}" for name in names
    ]


def shown(name: str, value: object) -> str:
    """Write a limit for people, as it could be typed where it can."""
    from garage_ai.node.guard.quantities import shown_duration, shown_size

    if value is None or value in ("", ()):
        return say("limits.none")
    if isinstance(value, bool):
        return say("limits.yes" if value else "limits.no")
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int | float) and name in _SIZES:
        return shown_size(value)
    if isinstance(value, int | float) and name in _TIMES:
        return shown_duration(value)
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return number + _UNITS.get(name, "")


__all__ = ["OFF", "Sharing", "limits", "lines", "set_share", "shown", "with_changes"]
