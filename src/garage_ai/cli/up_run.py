"""The body of `gai up`: joins the local network, the client and the screen."""

import asyncio
from pathlib import Path
from typing import Final

from garage_ai.cli.client import Client
from garage_ai.cli.errors import CliError, Failed, Misused
from garage_ai.cli.reason_words import reason_in_words
from garage_ai.cli.screen import Screen
from garage_ai.cli.target import Target, read_key
from garage_ai.cli.words import has, say
from garage_ai.local.errors import BadOptions, LocalError, TlsNeeded
from garage_ai.local.folders import Folders
from garage_ai.local.places import Place, UpOptions
from garage_ai.local.up import LocalNetwork

_PROBE_SECONDS: Final = 1.5
"""Own gateway, own machine: what takes longer is asked again."""


class OwnApi:
    """The gateway's API with the admin key, for `local`."""

    def __init__(self, place: Place, key_file: Path) -> None:
        self._place = place
        self._key_file = key_file

    def models(self) -> frozenset[str]:
        """Give the names of the models being served. Raises: OSError."""
        try:
            return frozenset(model.id for model in self._client().models())
        except CliError as error:
            raise OSError(error.message) from error

    def node_token(self) -> str:
        """Make an enrolment token for a node that needs no sandbox. Raises: OSError."""
        try:
            return self._client().create_token(bare_allowed=True).token
        except CliError as error:
            raise OSError(error.message) from error

    def _client(self) -> Client:
        key = read_key(self._key_file)
        if not key:
            raise OSError("the admin key is not made yet")
        certificates = self._place.certificates
        ca = certificates.ca if certificates else None
        target = Target(self._place.url, *self._place.address, key, ca)
        return Client(target, _PROBE_SECONDS, _PROBE_SECONDS)


def run_up(options: UpOptions, began: float) -> None:
    """Run the network until a signal comes. Raises: CliError."""
    screen = Screen(Folders(options.data_dir))
    try:
        asyncio.run(LocalNetwork(options, OwnApi, screen.tell, began).run())
    except LocalError as error:
        raise in_words(error) from error
    finally:
        screen.end()


def in_words(error: LocalError) -> CliError:
    """Put a local network's error into the owner's words."""
    values = dict(vars(error))
    key = f"error.{error.code}"
    if "pid" in values and values["pid"] is None:
        key += ".unknown"
    if "name" in values:
        values["name"] = say(f"child.{values['name']}")
    kind = Misused if isinstance(error, BadOptions | TlsNeeded) else Failed
    if not has(key):
        return kind(say("error.plain", message=reason_in_words(str(error).rstrip("."))))
    lines: tuple[str, ...] = values.get("lines", ())
    return kind(say(key, **values), say(f"{key}.next", **values), lines)


__all__ = ["OwnApi", "in_words", "run_up"]
