"""A real systemd user manager in a mount namespace of its own; needs root and another init."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

MANAGER: Final = "/lib/systemd/systemd"
_SECONDS: Final = 60.0
_SETTING: Final = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user/0 && chmod 700 /run/user/0
exec env -i PATH="$PATH" HOME="$1" XDG_RUNTIME_DIR=/run/user/0 "$2" --user
"""


class UserManager:
    """The manager of a user who lives in `home`; `inside` begins a command in its namespace."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                *("unshare", "--mount", "--propagation", "private"),
                *("sh", "-c", _SETTING, "sh", home, MANAGER),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        # What is typed after `su` or over ssh knows no XDG_RUNTIME_DIR; it has to work so, too.
        self.inside = ("nsenter", f"--target={self._process.pid}", "--mount")
        deadline = time.monotonic() + _SECONDS
        while self.systemctl("is-system-running") not in ("running", "degraded"):
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise AssertionError("systemd's user manager does not come up here")
            time.sleep(0.1)

    def systemctl(self, *words: str) -> str:
        """Ask it something; give what it prints."""
        done = subprocess.run(
            [*self.inside, "env", "XDG_RUNTIME_DIR=/run/user/0", "systemctl", "--user", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        return done.stdout.strip()

    def stop(self) -> None:
        """End it, and with it all of its services."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
            raise


def verify(unit: Path) -> str:
    """Let systemd itself read a unit; give what it finds wrong with it, not with its others."""
    assert shutil.which("systemd-analyze"), "systemd is not installed"
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": "/run"},
    )
    said = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in said if unit.name in line)


__all__ = ["UserManager", "verify"]
