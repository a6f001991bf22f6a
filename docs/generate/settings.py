"""The page of settings, from the typed settings themselves."""

from pathlib import Path
from typing import Annotated, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from docs.generate.markdown import code, page, table
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from garage_ai.data_folder import default_data_dir
from garage_ai.settings import ClientSettings, GatewaySettings

_KINDS: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
}

_INTRO = """
Settings are read once, when a process starts, from environment variables; one that is set to
nothing counts as not set. An option on the command line wins over its variable. `gai up` itself
sets those of its gateway that belong together (addresses, ports, certificates, keys' folder); all
others reach the gateway from your environment.
"""

_CLIENT = """
Read by every command that talks to a gateway (`gai chat`, `gai models`, `gai key`, `gai usage`,
`gai node token`). After `gai up` on the same machine none is needed.
"""

_OTHERS: Final = (
    (
        "GAI_ENGINE_KEY",
        "The key that your own server wants, for `--engine external`. Kept by `--service` alone.",
    ),
    (
        "GAI_NODE_TOKEN",
        "The token of `gai node join`, where it is to stand in no list of processes.",
    ),
    (
        "GAI_NODE_URLS",
        "Where a node finds NATS, whatever its gateway tells; `gai up` sets it for its own node.",
    ),
    ("GAI_NODE_NAME", "`--name` of `gai node join`: what the network calls this PC."),
    ("GAI_ENGINE_THREADS", "`--threads` of a node: the engine's threads of the processor."),
    (
        "GAI_VLLM_PYTHON",
        "`--vllm-python` of a node without a sandbox: the Python that vLLM is installed for.",
    ),
    (
        "GAI_RELEASES, GAI_RELEASE_KEY",
        "`--from` and `--release-key` of `gai node update`: where they are, and whose are taken.",
    ),
    (
        "GAI_PACKAGE",
        "Read by `start.sh` alone: the wheel to install, `PATH` or `URL#sha256=HEX`.",
    ),
    (
        "GAI_LITELLM_SPOOL",
        "Where LiteLLM's callback keeps what it has not told yet; beside itself if unset.",
    ),
    ("GAI_DEBUG", "`1` shows where in the program an error arose."),
    ("XDG_DATA_HOME", "The default data folder is `garage-ai` in it; `~/.local/share` if unset."),
    (
        "XDG_STATE_HOME",
        "Where `gai up` leaves word of its folder; `~/.local/state` if unset.",
    ),
    (
        "LC_ALL, LC_MESSAGES, LANG",
        "Commands speak Swedish when the first of them that is set begins with `sv`.",
    ),
    ("NO_COLOR", "No colours and no movement, also on a terminal."),
    ("SSL_CERT_FILE", "The CA that client commands trust, for a network that has its own."),
    ("HTTPS_PROXY, NO_PROXY", "A node's way to the gateway's HTTP address through a proxy."),
    ("HF_ENDPOINT, HF_TOKEN", "Another address than huggingface.co, and a token for it."),
)


def made() -> str:
    """Write the page."""
    return page(
        "Settings",
        "src/garage_ai/settings.py",
        _INTRO,
        f"## The gateway\n\n{_table(GatewaySettings)}",
        f"## Client commands\n\n{_CLIENT.strip()}\n\n{_table(ClientSettings)}",
        "## Other variables\n\n"
        + table(["variable", "meaning"], [(_codes(names), why) for names, why in _OTHERS]),
    )


def _table(group: type[BaseSettings]) -> str:
    prefix = group.model_config.get("env_prefix", "")
    rows = [
        (code(f"{prefix}{name}".upper()), _kind(field), _default(field), field.description or "")
        for name, field in group.model_fields.items()
    ]
    return table(["variable", "kind", "default", "meaning"], rows)


def _kind(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(map(code, get_args(field.annotation)))}"
    kinds = [_KINDS[each] for each in _plain_types(field.annotation)]
    return ", ".join([*kinds, *_bounds(field)])


def _plain_types(annotation: object) -> list[type]:
    if get_origin(annotation) is Annotated:
        return _plain_types(get_args(annotation)[0])
    parts = get_args(annotation) or (annotation,)
    return [part for part in parts if isinstance(part, type) and part is not type(None)]


def _bounds(field: FieldInfo) -> list[str]:
    low = next((rule.ge for rule in field.metadata if isinstance(rule, Ge)), None)
    high = next((rule.le for rule in field.metadata if isinstance(rule, Le)), None)
    above = [f"more than {rule.gt}" for rule in field.metadata if isinstance(rule, Gt)]
    if low is None:
        return above if high is None else [*above, f"at most {high}"]
    return [f"at least {low}" if high is None else f"{low} to {high}"]


def _default(field: FieldInfo) -> str:
    if field.default_factory is default_data_dir:
        return "`$XDG_DATA_HOME/garage-ai`"
    value = field.default
    if value is None:
        return "unset"
    if value == "":
        return "empty"
    return code(str(value).lower() if isinstance(value, bool) else value)


def _codes(names: str) -> str:
    return ", ".join(code(name) for name in names.split(", "))
