"""`gai models`: what is being served."""

from garage_ai.cli import output
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.words import say


def models(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the models being served."""
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


__all__ = ["models"]
