"""`gai models`: what is being served, what could be served here, and what the network knows."""

from typing import Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Misused
from garage_ai.cli.fits_words import say as say_fits
from garage_ai.cli.manifest_words import say as say_of_manifest
from garage_ai.cli.models_catalogue import add, catalogue, describe, remove
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client, has_subcommand
from garage_ai.cli.words import say

app = typer.Typer(help=say("help.models"), invoke_without_command=True)
app.command("add", help=say_of_manifest("help.add"))(add)
app.command("remove", help=say_of_manifest("help.remove"))(remove)
app.command("catalogue", help=say_of_manifest("help.catalogue"))(catalogue)
app.command("describe", help=say_of_manifest("help.describe"))(describe)


@app.callback()
def models(
    called: typer.Context,
    *,
    fits: Annotated[bool, typer.Option("--fits", help=say_fits("option.fits"))] = False,
    card: Annotated[
        list[str] | None, typer.Option("--card", metavar="NAME", help=say_fits("option.card"))
    ] = None,
    vram: Annotated[
        list[float] | None,
        typer.Option("--vram", min=1, max=1024, metavar="GIB", help=say_fits("option.vram")),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context", min=128, max=1 << 24, metavar="N", help=say_fits("option.context")
        ),
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option(
            "--sequences", min=1, max=4096, metavar="N", help=say_fits("option.sequences")
        ),
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the models being served, or what would fit here."""
    if has_subcommand(called):
        return
    if fits:
        _fits(card or [], vram or [], context, sequences, data_dir=data_dir, as_json=as_json)
        return
    if card or vram or context or sequences:
        raise Misused(say_fits("needs_fits"))
    _served(gateway, api_key, data_dir, as_json=as_json)


def _fits(
    cards: list[str],
    vram: list[float],
    context: int | None,
    sequences: int | None,
    *,
    data_dir: DataDir,
    as_json: bool,
) -> None:
    from garage_ai.catalog import Wish
    from garage_ai.cli.models_fits import show_fits

    usual = Wish()
    wish = Wish(context or usual.context, sequences or usual.sequences)
    show_fits(cards, vram, wish, data_dir=data_dir, as_json=as_json)


def _served(gateway: GatewayUrl, api_key: ApiKey, data_dir: DataDir, *, as_json: bool) -> None:
    found = client(gateway, api_key, data_dir).models()
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(say("models.none"), style=None)
        return
    columns = ("model", "kind", "context", "nodes", "digest")
    rows = [
        (
            model.id if model.gai.alias_of is None else f"{model.id} = {model.gai.alias_of}",
            model.gai.kind,
            str(model.gai.context),
            str(model.gai.nodes),
            model.gai.digest.removeprefix("sha256:")[:12],
        )
        for model in found
    ]
    output.write_table([say(f"table.{column}") for column in columns], rows)


__all__ = ["app"]
