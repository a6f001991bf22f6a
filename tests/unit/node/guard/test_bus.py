"""What busctl writes, recorded with systemd 252, and what it means."""

from collections.abc import Awaitable, Callable

import pytest

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.bus import (
    GAMEMODE,
    IDLE_HINT,
    IDLE_SINCE,
    GameMode,
    Metered,
    Property,
    Said,
    UserIdle,
    understood,
)
from garage_ai.node.guard.words import sentence

pytestmark = pytest.mark.anyio

NOBODY = 'Call failed: Name "com.feralinteractive.GameMode" does not exist\n'
NO_BUS = "Failed to connect to bus: No such file or directory\n"
NO_ADDRESS = (
    "Failed to set bus address: $DBUS_SESSION_BUS_ADDRESS and $XDG_RUNTIME_DIR not defined "
    "(consider using --machine=<user>@.host --user to connect to bus of other user)\n"
)


def saying(**answers: Said) -> Callable[[Property], Awaitable[Said]]:
    async def ask(what: Property) -> Said:
        return answers[what.property]

    return ask


def test_asks_without_starting_anybody() -> None:
    """To ask whether a game runs must not start the one who is asked."""
    assert GAMEMODE.argv() == [
        "busctl",
        "--user",
        "--auto-start=no",
        "--timeout=2",
        "call",
        "com.feralinteractive.GameMode",
        "/com/feralinteractive/GameMode",
        "org.freedesktop.DBus.Properties",
        "Get",
        "ss",
        "com.feralinteractive.GameMode",
        "ClientCount",
    ]


@pytest.mark.parametrize(
    ("status", "output", "errors", "said"),
    [
        (0, "v i 2\n", "", Said("2")),
        (0, "v b true\n", "", Said("true")),
        (0, "v t 1764075600000000\n", "", Said("1764075600000000")),
        (1, "", NOBODY, Said(nobody=True)),
        (1, "", "Call failed: Destination does not exist\n", Said(nobody=True)),
        (1, "", "Call failed: The name does not have an owner\n", Said(nobody=True)),
        (1, "", "Call failed: The name is not activatable\n", Said(nobody=True)),
        (1, "", NO_BUS, Said(trouble=sentence("no_bus"))),
        (1, "", NO_ADDRESS, Said(trouble=sentence("no_bus"))),
        (1, "", "Call failed: Access denied\n", Said(trouble=sentence("no_answer", name="x"))),
        (0, "as 2 what is this\n", "", Said(trouble=sentence("no_answer", name="x"))),
    ],
)
def test_reads_what_busctl_writes(status: int, output: str, errors: str, said: Said) -> None:
    """A value, nobody, no bus, or no answer that could be read."""
    assert understood(status, output, errors, "x") == said


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (Said("0"), "free"),
        (Said("1"), "busy"),
        (Said(nobody=True), "free"),
        (Said(trouble=sentence("no_bus")), "unknown"),
    ],
)
async def test_gamemode(said: Said, verdict: str) -> None:
    """A game that asked for the PC is busy; a GameMode that does not run has no games."""
    assert (await GameMode(saying(ClientCount=said)).read(Limits())).verdict == verdict


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (Said("1"), "busy"),
        (Said("3"), "busy"),
        (Said("2"), "free"),
        (Said("4"), "free"),
        (Said("0"), "unknown"),
        (Said(nobody=True), "unknown"),
        (Said(trouble=sentence("no_bus")), "unknown"),
    ],
)
async def test_metered(said: Said, verdict: str) -> None:
    """NetworkManager's guess counts as its word; its silence does not."""
    assert (await Metered(saying(Metered=said)).read(Limits())).verdict == verdict


@pytest.mark.parametrize(
    ("hint", "since", "verdict"),
    [
        ("false", "0", "busy"),
        ("true", "1000000000", "free"),
        ("true", "9400000000", "busy"),
    ],
)
async def test_idle(hint: str, since: str, verdict: str) -> None:
    """Idle for as long as the owner said, by logind's own time."""
    reader = UserIdle(lambda: 10_000.0, saying(IdleHint=Said(hint), IdleSinceHint=Said(since)))
    assert (await reader.read(Limits(idle=900.0))).verdict == verdict


async def test_idle_without_logind_is_unknown() -> None:
    """Which fails closed: the owner wanted it known."""
    trouble = Said(trouble=sentence("no_bus"))
    reader = UserIdle(lambda: 0.0, saying(IdleHint=trouble, IdleSinceHint=trouble))
    assert (await reader.read(Limits(idle=900.0))).verdict == "unknown"
    assert {IDLE_HINT.bus, IDLE_SINCE.bus} == {"system"}
