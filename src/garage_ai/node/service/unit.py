"""The unit file: pure text (systemd.service(5), systemd.exec(5), systemd.syntax(7)).

What is not in it, on purpose: `NoNewPrivileges`, `ProtectSystem` and their like. Rootless Podman
maps its users with newuidmap, which has privileges of its own, and mounts what it runs; what fences
the engine in is the container.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from garage_ai.node.errors import (
    AlreadyRunning,
    CardUnusable,
    EnrolmentFailed,
    ModelAway,
    NodeError,
    NoImage,
    NotEnrolled,
    NotPossible,
    Removed,
    RuntimeBroken,
    SandboxError,
    Superseded,
)

NAME: Final = "garage-ai-node"
ENVIRONMENT: Final = "service.env"
"""In the node's folder, for its owner alone: a key of his engine may be in it."""

STOP_SECONDS: Final = 45
"""The agent drains for 30 and then ends its engine."""

_RESTART_SECONDS: Final = 15
_STARTS: Final = 10
_STARTS_WITHIN_SECONDS: Final = 120
"""Ten waits are longer than that: ends that may pass never reach systemd's limit, after which it
would start nothing any more."""

_MAY_PASS: Final = (CardUnusable, ModelAway, NoImage, RuntimeBroken, SandboxError)
"""What a PC lacks only for a while: a registry or a line is away, a daemon has not started yet, and
a card's driver, its description for containers (CDI) and a disk with models come up beside the
service when the PC starts."""

KEPT: Final = (
    *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    *("all_proxy", "https_proxy", "http_proxy", "no_proxy"),
    *("CONTAINER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST"),
    *("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    *("GAI_ENGINE_KEY", "GAI_LOG_LEVEL", "HF_ENDPOINT", "HF_TOKEN"),
    *("LANG", "LC_ALL", "PATH", "SSL_CERT_FILE"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
)
"""What the agent goes by in the terminal where the service was made."""

_SPECIAL: Final = re.compile(r'[\\"`$]')
_ESCAPED: Final = r"\\\g<0>"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def unit_name(folder: Path, default: Path) -> str:
    """Name the unit of the node in `folder`; the usual folder has the usual name."""
    if folder == default:
        return f"{NAME}.service"
    return f"{NAME}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}.service"


def unit_text(argv: Sequence[str], folder: Path) -> str:
    """Write the unit that runs `argv` for the node in `folder`. Raises: NotPossible."""
    program, *arguments = argv
    # Only what follows the program's own path may name variables.
    command = [_quoted(program), *(_quoted(word).replace("$", "$$") for word in arguments)]
    codes = " ".join(map(str, final_codes()))
    environment = _plain(str(folder / ENVIRONMENT)).replace("%", "%%")
    return f"""\
# Made by `gai node service install`, which writes it anew; removed by `gai node service remove`.
[Unit]
Description=Garage AI node
StartLimitIntervalSec={_STARTS_WITHIN_SECONDS}
StartLimitBurst={_STARTS}

[Service]
Type=exec
ExecStart={" ".join(command)}
EnvironmentFile=-{environment}
Restart=on-failure
RestartSec={_RESTART_SECONDS}
# These need a person: `gai node service status` says what for.
RestartPreventExitStatus={codes}
# The agent is asked to stop and finishes what runs; only what is left after that is killed.
KillMode=mixed
TimeoutStopSec={STOP_SECONDS}
# Whatever else the PC does comes first.
Nice=10
CPUWeight=20
IOSchedulingClass=idle
OOMScoreAdjust=500
# An engine that ran out of memory is started again by its agent.
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def final_codes() -> list[int]:
    """Give the exit codes of an agent that would end the same way a moment later."""
    kinds = _all(NotPossible)
    kinds += (AlreadyRunning, EnrolmentFailed, NotEnrolled, Removed, Superseded)
    return sorted({each.exit_code for each in kinds if each not in _MAY_PASS})


def _all(kind: type[NodeError]) -> list[type[NodeError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _all(below))]


def environment_text(environment: Mapping[str, str]) -> str:
    """Write what the service is to know of an environment; what no file can say is left out."""
    kept = ((name, environment.get(name, "")) for name in KEPT)
    lines = (
        f'{name}="{_SPECIAL.sub(_ESCAPED, value)}"\n'
        for name, value in kept
        if value and not _CONTROL.search(value)
    )
    return "".join(lines)


def _quoted(word: str) -> str:
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w./:%+@=,-]+", escaped) else f'"{escaped}"'


def _plain(text: str) -> str:
    if _CONTROL.search(text):
        raise NotPossible(
            "A service cannot have {text!r} in its command: use another folder.",
            text=text,
        )
    return text


__all__ = [
    "ENVIRONMENT",
    "KEPT",
    "NAME",
    "STOP_SECONDS",
    "environment_text",
    "final_codes",
    "unit_name",
    "unit_text",
]
