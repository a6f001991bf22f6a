"""`gai image`: which images nodes may make their engines' containers from."""

from typing import TYPE_CHECKING, Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.image_words import say
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client

if TYPE_CHECKING:
    from garage_ai.cli.shapes import Image

app = typer.Typer(help=say("help"), no_args_is_help=True)

Digest = Annotated[str, typer.Argument(metavar="DIGEST", help=say("argument.digest"))]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help=say("option.note"))]


@app.command(help=say("help.approve"))
def approve(
    digest: Digest,
    *,
    note: Note = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let nodes serve from an image."""
    decided = client(gateway, api_key, data_dir).decide_image(digest, "approve", note)
    _show(decided, as_json=as_json)


@app.command(help=say("help.revoke"))
def revoke(
    digest: Digest,
    *,
    note: Note = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give nodes no work that run an image, or one that stands on it."""
    decided = client(gateway, api_key, data_dir).decide_image(digest, "revoke", note)
    _show(decided, as_json=as_json)


@app.command("list", help=say("help.list"))
def list_(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List images: those that wait for a decision first."""
    found = client(gateway, api_key, data_dir).images()
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(say("none"), style=None)
        return
    rows = [
        (
            each.digest,
            say(f"state.{each.state}"),
            output.harmless(each.note or each.base),
            str(len(each.nodes)),
        )
        for each in found
    ]
    columns = [say(f"table.{column}") for column in ("digest", "state", "note", "nodes")]
    output.write_table(columns, rows)


def _show(decided: "Image", *, as_json: bool) -> None:
    if as_json:
        output.write_json(decided)
        return
    output.write(say(f"decided.{decided.state}", digest=decided.digest, nodes=len(decided.nodes)))


__all__ = ["app"]
