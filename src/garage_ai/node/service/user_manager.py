"""systemd's user manager: whether there is one, and the node's unit in it."""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import structlog

from garage_ai.data_folder import default_data_dir
from garage_ai.node.errors import NoServiceManager
from garage_ai.node.folder import NodeFolder
from garage_ai.node.preflight.reader import read_linger, user_name
from garage_ai.node.sandbox.command import Said, ask
from garage_ai.node.service.unit import (
    ENVIRONMENT,
    STOP_SECONDS,
    environment_text,
    unit_name,
    unit_text,
)
from garage_ai.wire.secret_files import replace_secret

_log = structlog.get_logger(__name__)

Absence = Literal["no_systemd", "no_systemd_wsl", "no_session"]

_ABSENT: Final[dict[Absence, str]] = {
    "no_systemd": (
        "systemd does not run this system (a container?), so there is nothing to run a service. "
        "Run `gai node run` by whatever starts programs here."
    ),
    "no_systemd_wsl": (
        "This WSL runs without systemd. Put `[boot]` and `systemd=true` into /etc/wsl.conf, then "
        "in Windows: wsl --shutdown"
    ),
    "no_session": (
        "systemd has no session for you here, as after `su` or `sudo`. Log in as yourself, or: "
        "sudo loginctl enable-linger $USER"
    ),
}
_SHOWN: Final = "LoadState,ActiveState,SubState,UnitFileState,MainPID,ExecMainStatus,NRestarts"


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How the unit is; `state` as systemd says it: active, activating, failed, inactive.

    `exit_code` is that of the agent's last end, `linger` None where nobody knows. Inside `wsl`
    Windows ends the system under it: what systemd has started keeps no WSL (microsoft/WSL 9667).
    """

    unit: str
    path: str
    installed: bool
    enabled: bool = False
    state: str = "inactive"
    pid: int | None = None
    exit_code: int = 0
    restarts: int = 0
    linger: bool | None = None
    wsl: bool = False

    @property
    def runs(self) -> bool:
        """Whether the manager runs the agent, or is about to."""
        return self.state in ("active", "activating", "reloading")


class NodeService:
    """The service of the node in a folder.

    Raises: NoServiceManager, from whatever has to ask the manager, where there is none.
    """

    def __init__(
        self,
        folder: NodeFolder,
        *,
        environment: Mapping[str, str] = os.environ,
        root: Path = Path("/"),
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._root = root
        self.unit = unit_name(folder.path, default_data_dir().absolute())
        config = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        self.path = Path(config, "systemd/user", self.unit)
        self._runtime = _runtime(environment.get("XDG_RUNTIME_DIR", ""))

    @property
    def installed(self) -> bool:
        """Whether its file is there, whoever runs it."""
        return self.path.exists()

    def absence(self) -> Absence | None:
        """Say why there is no manager for this user; None when there is one."""
        if not (self._root / "run/systemd/system").is_dir():
            return "no_systemd_wsl" if self._in_wsl else "no_systemd"
        if not (Path(self._runtime) / "systemd/private").exists():
            return "no_session"
        return None

    @property
    def _in_wsl(self) -> bool:
        release = self._root / "proc/sys/kernel/osrelease"
        return release.exists() and "microsoft" in release.read_text().lower()

    def need_manager(self) -> None:
        """Check that there is one. Raises: NoServiceManager."""
        absence = self.absence()
        if absence is not None:
            raise NoServiceManager(
                "{problem}",
                problem=_ABSENT[absence],
            )

    async def install(self, argv: tuple[str, ...], *, start: bool = True) -> None:
        """Write the unit anew, and have it run now and at every start of the PC."""
        self.need_manager()
        text = unit_text(argv, self._folder.path)
        await asyncio.to_thread(self._write, text)
        await self._ask("daemon-reload")
        await self._ask("enable", self.unit)
        if start:
            await self._ask("reset-failed", self.unit, must=False)
            await self._ask("restart", self.unit)

    async def start(self) -> None:
        """Start the agent, unless it runs."""
        await self._ask("start", self.unit)

    async def stop(self) -> bool:
        """Let the agent finish and end; tell whether it ran."""
        if not self.installed or self.absence() is not None:
            return False
        if not (await self.state()).runs:
            return False
        await self._ask("stop", self.unit)
        return True

    async def remove(self) -> bool:
        """Stop it and remove its unit, also where no manager runs; tell whether there was one."""
        there = self.installed
        if self.absence() is None:
            await self._ask("disable", "--now", self.unit, must=False)
        await asyncio.to_thread(self._unlink)
        if there and self.absence() is None:
            await self._ask("daemon-reload")
            await self._ask("reset-failed", self.unit, must=False)
        return there

    async def state(self) -> ServiceState:
        """Say how it is."""
        linger, wsl = read_linger(self._root, user_name()), self._in_wsl
        if self.absence() is not None:
            return ServiceState(self.unit, str(self.path), self.installed, linger=linger, wsl=wsl)
        said = await self._ask("show", self.unit, f"--property={_SHOWN}")
        told = dict(line.split("=", 1) for line in said.out.splitlines() if "=" in line)
        return ServiceState(
            unit=self.unit,
            path=str(self.path),
            installed=self.installed,
            enabled=told.get("UnitFileState") == "enabled",
            state=told.get("ActiveState", "inactive"),
            pid=_number(told.get("MainPID")) or None,
            exit_code=_number(told.get("ExecMainStatus")),
            restarts=_number(told.get("NRestarts")),
            linger=linger,
            wsl=wsl,
        )

    async def _ask(self, *words: str, must: bool = True) -> Said:
        self.need_manager()
        # After `su` or over ssh the variable may be missing though the manager is there.
        home = f"XDG_RUNTIME_DIR={self._runtime}"
        argv = ["env", home, "systemctl", "--user", "--no-ask-password", *words]
        said = await ask(argv, seconds=STOP_SECONDS + 30)
        if must and not said.well:
            raise NoServiceManager(
                "systemctl --user {verb} fails: {words}", verb=words[0], words=said.words
            )
        return said

    def _write(self, text: str) -> None:
        replace_secret(self._folder.path / ENVIRONMENT, environment_text(self._environment))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.new")
        beside.write_text(text)
        beside.replace(self.path)
        _log.info("service_written", path=str(self.path))

    def _unlink(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_name(f".{self.path.name}.new").unlink(missing_ok=True)
        # What `disable` does, for the case that nobody could be asked.
        (self.path.parent / "default.target.wants" / self.unit).unlink(missing_ok=True)
        (self._folder.path / ENVIRONMENT).unlink(missing_ok=True)


def _runtime(said: str) -> str:
    """Give where this user's manager listens; after `su` the variable may still name another's."""
    with contextlib.suppress(OSError):
        if said and Path(said).stat().st_uid == os.getuid():
            return said
    return f"/run/user/{os.getuid()}"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


__all__ = ["Absence", "NodeService", "ServiceState"]
