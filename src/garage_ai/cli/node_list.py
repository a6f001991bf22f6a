"""`gai node list`: the network's nodes, how fast by their own word and as the gateway sees them."""

import msgspec

from garage_ai.cli import output
from garage_ai.cli.node_list_words import say
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.reason_words import state_in_words
from garage_ai.cli.shapes import Electricity, Offered, Rig


def list_nodes(
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the network's nodes; for administrators."""
    found = client(gateway, api_key, data_dir).nodes()
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(say("none"), style=None)
        return
    columns = ["node", "name", "state", "model", "at_work", "told", "seen", "ttft", "figures"]
    columns += ["kwh", "kronor", "per_million"]
    rows = [row for rig in found for row in _rows(rig)]
    output.write_table([say(f"column.{column}") for column in columns], rows)


def _rows(rig: Rig) -> list[tuple[str, ...]]:
    who = (rig.id, output.harmless(rig.name), state_in_words(rig.state))
    drew = _drew(rig.electricity)
    return [(*who, *_model(each), *drew) for each in rig.models] or [
        (*who, "", "", "", "", "", "", *drew)
    ]


def _drew(electricity: Electricity) -> tuple[str, str, str]:
    """Say what it drew; kronor rest on assumed fees and so are always marked as an estimate."""
    return (
        _known(electricity.kwh or 0.0, "{:.1f}"),
        _known(electricity.kronor or 0.0, "~{:.0f}"),
        _known(electricity.kronor_per_million or 0.0, "~{:.2f}"),
    )


def _model(model: Offered) -> tuple[str, ...]:
    return (
        output.harmless(model.name),
        f"{model.running}/{model.slots}",
        _known(model.decode_speed, "{:.1f}"),
        _known(model.measured_speed, "{:.1f}"),
        _known(model.measured_ttft, "{:.2f} s"),
        say("figures.off").format(**msgspec.structs.asdict(model.figures))
        if model.figures.flagged
        else "",
    )


def _known(figure: float, form: str) -> str:
    return form.format(figure) if figure else ""


__all__ = ["list_nodes"]
