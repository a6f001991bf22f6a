"""The network's own node: enrolled by itself, at home in `local-node`."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from garage_ai.local.folders import Folders
from garage_ai.local.places import Place
from garage_ai.local.supervisor import Change
from garage_ai.node.errors import NoAgent, NotEnrolled, Removed
from garage_ai.node.folder import TOKEN_VARIABLE, URLS_VARIABLE, NodeFolder
from garage_ai.node.guard.limits import LIMITS, Limits, save_limits
from garage_ai.node.guard.words import Sentence

NAME: Final = "node"


class OwnNode:
    """What starts it: `join` with a fresh token the first time, `run` from then on."""

    def __init__(self, folders: Folders, place: Place, model: str, token: Callable[[], str]):
        self._folder = NodeFolder(folders.node)
        self._place = place
        self._token = token
        # Not as others come: a router need not lead back, nor a name be known here yet.
        self._environment = os.environ | {URLS_VARIABLE: ",".join(place.own_nats_urls)}
        self._options = ["--engine", "llamacpp", "--model", model, "--data-dir", str(folders.node)]
        # It is its owner's own network on his own PC, and must not wait for an image.
        # A demonstration that works on any machine, in its own process: on no card.
        self._options += ["--sandbox", "none", "--gpu", "none"]

    @property
    def is_enrolled(self) -> bool:
        """Whether it has an identity."""
        try:
            self._folder.load()
        except NotEnrolled:
            return False
        return True

    async def argv(self) -> Sequence[str]:
        """Give the command for its next start; the token is in the environment. Raises: OSError."""
        await asyncio.to_thread(self._allow)
        command = [sys.executable, "-P", "-m", "garage_ai.cli", "node"]
        if await asyncio.to_thread(self._refreshed):
            self._environment.pop(TOKEN_VARIABLE, None)
            return [*command, "run", *self._options, "--gateway", self._place.own_url]
        # Arguments are for all users of the PC to read, an environment for its owner alone.
        self._environment[TOKEN_VARIABLE] = await asyncio.to_thread(self._token)
        return [*command, "join", self._place.own_url, *self._options]

    @property
    def environment(self) -> Mapping[str, str]:
        """The owner's, with what the command last given needs besides."""
        return self._environment

    def stands_back(self) -> Sentence | None:
        """Say why this PC's owner comes first just now; None where nothing keeps it. Blocks."""
        from garage_ai.node.control import ask_agent

        try:
            guard = ask_agent(self._folder.run, "status").guard
        except NoAgent:
            return None
        return None if guard is None or guard.action == "serve" else guard.reason

    def heed(self, change: Change) -> None:
        """Forget an identity that the network has removed, so that the next start enrols anew."""
        if change.name == NAME and change.kind == "ended" and change.code == Removed.exit_code:
            self._folder.forget()

    def _allow(self) -> None:
        """Let it serve on battery and a metered line: whoever starts a network here wants it."""
        if not (self._folder.path / LIMITS).exists():
            save_limits(self._folder.path, Limits(on_battery=True, on_metered=True))

    def _refreshed(self) -> bool:
        """Tell its record where the network is this time; False when there is none."""
        try:
            record = self._folder.load()
        except NotEnrolled:
            return False
        certificates = self._place.certificates
        now = msgspec.structs.replace(
            record,
            gateway=self._place.own_url,
            urls=self._place.own_nats_urls,
            ca_pem=certificates.ca_pem if certificates else None,
        )
        if now != record:
            self._folder.save(now)
        return True


__all__ = ["NAME", "OwnNode"]
