"""A group's network at each start of the PC: units of systemd's (systemd.service(5), .socket(5)).

Where `wireguard-go` serves the network, systemd holds its socket: made by root for the node's owner
alone, and there while the program is started again.
"""

from pathlib import Path
from typing import Final

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.tunnel import Tunnel, run
from garage_ai.node.group.tunnel_making import GIVEN, Argv, Making, unmaking

UNITS: Final = Path("/etc/systemd/system")
_SECONDS: Final = 150.0
_START_SECONDS: Final = 60
_MADE: Final = (
    "# Made by `gai node doctor --fix`, which writes it anew; removed by `gai group leave`, both as"
    " root.\n"
)


def unit_texts(tunnel: Tunnel, made: Making, *, owner: int, group: int) -> dict[str, str]:
    """Write the units that make an end, by their names. Pure."""
    service = f"{tunnel.unit}.service"
    text = _MADE + "[Unit]\nDescription=Garage AI: the network of a rig group\n\n[Service]\n"
    if not made.program:
        text += "Type=oneshot\nRemainAfterExit=yes\n"
        text += _lines("ExecStart", *made.before, *made.after)
        return {service: text + _ending(tunnel)}
    text += f"Type=exec\nSockets={tunnel.unit}.socket\n"
    text += "".join(f"Environment={name}={value}\n" for name, value in GIVEN.items())
    text += _lines("ExecStartPre", *made.before) + _lines("ExecStart", made.program)
    text += _lines("ExecStartPost", *made.after) + "Restart=always\nRestartSec=5\n"
    socket = (
        f"{_MADE}[Unit]\nDescription=Garage AI: who may speak to the network of a rig group\n\n"
        f"[Socket]\nListenStream={tunnel.socket}\nSocketUser={owner}\nSocketGroup={group}\n"
        "SocketMode=0600\nRemoveOnStop=yes\n"
    )
    return {service: text + _ending(tunnel), f"{tunnel.unit}.socket": socket}


def _ending(tunnel: Tunnel) -> str:
    return (
        _lines("ExecStopPost", *((f"-{argv[0]}", *argv[1:]) for argv in unmaking(tunnel)))
        + f"TimeoutStartSec={_START_SECONDS}\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def _lines(setting: str, *commands: Argv) -> str:
    # Names, numbers and paths of our own: nothing in them means more to systemd.
    return "".join(f"{setting}={' '.join(argv)}\n" for argv in commands)


class TunnelUnits:
    """The units of one end; to be used by root. Blocks."""

    def __init__(
        self, tunnel: Tunnel, folder: Path = UNITS, systemctl: Argv = ("systemctl",)
    ) -> None:
        self._paths = [folder / f"{tunnel.unit}.{kind}" for kind in ("service", "socket")]
        self._systemctl = systemctl

    @property
    def path(self) -> Path:
        """Where the one lies that an owner would look at."""
        return self._paths[0]

    @property
    def installed(self) -> bool:
        """Whether there is one, whoever asks."""
        return self.path.exists()

    def install(self, texts: dict[str, str]) -> None:
        """Write them, and have the end made now and at every start. Raises: NoTunnel."""
        for path in self._paths:
            if path.name in texts:
                path.write_text(texts[path.name])
        for words in (("daemon-reload",), ("enable", "--now", self.path.name)):
            self._ask(*words)

    def remove(self) -> bool:
        """End what they have made and remove them; tell whether there were any. Raises: NoTunnel.

        Also where another boot of the PC has left them and no systemd runs now.
        """
        there = [path for path in self._paths if path.exists()]
        if there and systemd_runs():
            self._ask("disable", "--now", *(path.name for path in there))
        for path in there:
            path.unlink()
            (path.parent / "multi-user.target.wants" / path.name).unlink(missing_ok=True)
        if there and systemd_runs():
            self._ask("daemon-reload")
        return bool(there)

    def _ask(self, *words: str) -> None:
        said = run((*self._systemctl, *words), seconds=_SECONDS)
        if said:
            raise NoTunnel(
                "The group's network cannot be set up: `{argv}` says: {words}",
                argv=" ".join((*self._systemctl, *words)),
                words=said,
            )


def systemd_runs() -> bool:
    """Tell whether systemd runs this system (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def boots_here() -> bool:
    """Tell whether systemd starts this system, and in the network that this process is in."""
    try:
        own, first = (Path(f"/proc/{who}/ns/net").stat().st_ino for who in ("self", "1"))
    except OSError:
        return False
    return systemd_runs() and own == first


__all__ = ["UNITS", "TunnelUnits", "boots_here", "unit_texts"]
