"""What the desktop says over D-Bus, asked with `busctl`: GameMode, NetworkManager, logind.

`busctl` belongs to systemd and is there where these are, which spares the agent a dependency. It
is told to start nobody: to ask whether a game runs must not start the one who is asked.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.quantities import shown_duration
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import Sentence, sentence

ASK_SECONDS: Final = 3.0
_MAX_ANSWER: Final = 4096
_VALUE: Final = re.compile(r"v ([a-z]) (\S+)\s*")
_NOBODY: Final = re.compile(
    r'Name "[^"]*" does not exist|was not provided by any'
    # The same by dbus-broker, which Fedora and Arch have.
    r"|Destination does not exist|does not have an owner|not activatable"
)
_GET: Final = ("org.freedesktop.DBus.Properties", "Get", "ss")


@dataclass(frozen=True, slots=True)
class Property:
    """A property of somebody on one of the buses."""

    bus: Literal["user", "system"]
    name: str
    path: str
    interface: str
    property: str

    def argv(self) -> list[str]:
        """Give the command that asks for it."""
        options = [f"--{self.bus}", "--auto-start=no", "--timeout=2", "call", self.name, self.path]
        return ["busctl", *options, *_GET, self.interface, self.property]


GAMEMODE: Final = Property(
    "user",
    "com.feralinteractive.GameMode",
    "/com/feralinteractive/GameMode",
    "com.feralinteractive.GameMode",
    "ClientCount",
)
METERED: Final = Property(
    "system",
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
    "Metered",
)
_LOGIND: Final = ("system", "org.freedesktop.login1", "/org/freedesktop/login1")
IDLE_HINT: Final = Property(
    "system", _LOGIND[1], _LOGIND[2], "org.freedesktop.login1.Manager", "IdleHint"
)
IDLE_SINCE: Final = Property(
    "system", _LOGIND[1], _LOGIND[2], "org.freedesktop.login1.Manager", "IdleSinceHint"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What came of asking: a value, or nobody of that name, or why there is no answer."""

    value: str = ""
    nobody: bool = False
    trouble: Sentence | None = None


def understood(status: int, output: str, errors: str, name: str) -> Said:
    """Read what busctl wrote. Pure."""
    if status == 0 and (found := _VALUE.fullmatch(output)):
        return Said(found[2])
    if _NOBODY.search(errors):
        return Said(nobody=True)
    if "Failed to connect" in errors or "Failed to set bus address" in errors:
        return Said(trouble=sentence("no_bus"))
    return Said(trouble=sentence("no_answer", name=name))


async def ask_bus(what: Property) -> Said:
    """Ask for a property."""
    try:
        process = await asyncio.create_subprocess_exec(
            *what.argv(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError:
        return Said(trouble=sentence("no_busctl"))
    try:
        async with asyncio.timeout(ASK_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        return Said(trouble=sentence("no_answer", name=what.name))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    said, complaint = (each[:_MAX_ANSWER].decode(errors="replace") for each in (output, errors))
    return understood(process.returncode or 0, said, complaint, what.name)


Ask = Callable[[Property], Awaitable[Said]]


class GameMode:
    """Whether a game has asked GameMode for the PC. Fails open: many PCs have no GameMode."""

    signal: SignalName = "gamemode"
    every = 3.0

    def __init__(self, ask: Ask = ask_bus) -> None:
        self._ask = ask

    def wanted(self, limits: Limits) -> bool:
        """Tell whether the owner wants it."""
        return limits.gamemode

    async def read(self, limits: Limits) -> Finding:  # noqa: ARG002 - it has no limit
        """Ask how many games there are; nobody there has none."""
        said = await self._ask(GAMEMODE)
        if said.trouble is not None:
            return unknown(said.trouble)
        if said.nobody or said.value == "0":
            return FREE
        return Finding("busy", sentence("gamemode"))


class Metered:
    """Whether the connection is metered (NMMetered). Fails open: many PCs do not tell."""

    signal: SignalName = "metered"
    every = 30.0

    def __init__(self, ask: Ask = ask_bus) -> None:
        self._ask = ask

    def wanted(self, limits: Limits) -> bool:
        """Tell whether the owner wants it."""
        return not limits.on_metered

    async def read(self, limits: Limits) -> Finding:  # noqa: ARG002 - it has no limit
        """Ask NetworkManager; a guess of its counts as its word."""
        said = await self._ask(METERED)
        if said.trouble is not None:
            return unknown(said.trouble)
        if said.nobody:
            return unknown(sentence("no_answer", name="NetworkManager"))
        if said.value in ("1", "3"):
            return Finding("busy", sentence("metered"))
        return FREE if said.value in ("2", "4") else unknown(sentence("not_told"))


class UserIdle:
    """Whether nobody has used the PC for a while, as the desktop tells logind. Fails closed."""

    signal: SignalName = "idle"
    every = 10.0

    def __init__(self, wall: Callable[[], float], ask: Ask = ask_bus) -> None:
        self._wall = wall
        self._ask = ask

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there is a limit."""
        return limits.idle is not None

    async def read(self, limits: Limits) -> Finding:
        """Ask whether the sessions are idle, and since when."""
        limit = limits.idle or 0.0
        hint = await self._ask(IDLE_HINT)
        used = Finding("busy", sentence("idle", limit=shown_duration(limit)))
        if hint.value == "false":
            return used
        if hint.value == "true":
            since = await self._ask(IDLE_SINCE)
            if since.value.isdecimal():
                # Microseconds since 1970 (org.freedesktop.login1(5)).
                return FREE if self._wall() - int(since.value) / 1e6 >= limit else used
            hint = since
        return unknown(hint.trouble or sentence("no_answer", name="logind"))


__all__ = [
    "ASK_SECONDS",
    "GAMEMODE",
    "IDLE_HINT",
    "IDLE_SINCE",
    "METERED",
    "GameMode",
    "Metered",
    "Property",
    "Said",
    "UserIdle",
    "ask_bus",
    "understood",
]
