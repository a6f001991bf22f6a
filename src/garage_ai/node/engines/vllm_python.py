"""The environment that vLLM lives in: found, asked, and judged. vLLM is never in ours."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.node.errors import EngineMissing, EngineUnfit

VLLM_PYTHON: Final = "GAI_VLLM_PYTHON"
FLOOR: Final = (0, 32, 0)
"""The oldest version that is let run.

0.32.0 ends the last known way to hurt a server by a chat template (CVE-2026-115911); older ones
could be made to run a model's code (CVE-2026-22807) or to do without a check (CVE-2026-41523).
"""

KNOWN_BAD: Final[Mapping[str, str]] = {}
"""Versions from the floor on that must not run, each with its reason and where that is written.

Empty: nothing is known against one of them today.
"""

VERSION_SECONDS: Final = 60.0
"""Finding the version reads a few files; a disk that sleeps takes its time."""

FACTS_SECONDS: Final = 180.0
"""Asking for the cards imports PyTorch: seconds, on a busy machine a minute."""

_MAX_ANSWER: Final = 64 * 1024
_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(.*)", re.DOTALL)
_BEFORE: Final = re.compile(r"\.?(?:a|b|rc|dev|alpha|beta)\d*", re.IGNORECASE)
_SHEBANG: Final = re.compile(rb"#!\s*(\S+python[\d.]*)\s*$|^'''exec' \"?([^\"\s]+)", re.MULTILINE)

_Bytes = Annotated[int, msgspec.Meta(ge=0)]


class Card(msgspec.Struct, frozen=True):
    """A graphics card; memory in bytes, `free` beside what others use now.

    `uuid` is empty where PyTorch was asked, which counts cards.
    """

    name: str
    capability: tuple[int, int]
    free: _Bytes
    total: _Bytes
    uuid: str = ""


class Facts(msgspec.Struct, frozen=True):
    """What an environment has: vLLM's version, the device its build is for, the cards."""

    version: str
    device: str = ""
    cards: tuple[Card, ...] = ()


_facts: Final = msgspec.json.Decoder(Facts)


def find_python(asked: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Give the Python of vLLM's environment: as asked, by GAI_VLLM_PYTHON, or beside `vllm`.

    Raises: EngineMissing.
    """
    said = asked or environment.get(VLLM_PYTHON)
    if said:
        python = Path(said).expanduser().absolute()
        if not os.access(python, os.X_OK) or python.is_dir():
            raise EngineMissing(
                "{python} is no Python that can be run.",
                python=python,
            )
        return python
    script = shutil.which("vllm", path=environment.get("PATH"))
    if script is None:
        raise EngineMissing(
            "vLLM was not found: there is no `vllm` on PATH. Say which Python has it with "
            "--vllm-python or {VLLM_PYTHON}.",
            VLLM_PYTHON=VLLM_PYTHON,
        )
    return _python_of(Path(script))


def _python_of(script: Path) -> Path:
    """Give the Python that a `vllm` command runs with."""
    beside = script.resolve().with_name("python")
    if os.access(beside, os.X_OK):
        return beside
    with contextlib.suppress(OSError), script.open("rb") as file:
        found = _SHEBANG.search(file.read(1024))
        if found:
            return Path(os.fsdecode(found[1] or found[2]))
    raise EngineMissing(
        "{script} does not say which Python it runs with; give --vllm-python.",
        script=script,
    )


def judge(version: str) -> None:
    """Refuse a version that must not run. Raises: EngineMissing, EngineUnfit."""
    if not version:
        raise EngineMissing("This Python has no vLLM.")
    floor = ".".join(map(str, FLOOR))
    parts = _VERSION.match(version)
    if parts is None:
        raise EngineUnfit(
            "vLLM does not say its version ({version!r}); {floor} is needed.",
            version=version[:40],
            floor=floor,
        )
    number = (int(parts[1]), int(parts[2]), int(parts[3] or 0))
    if number < FLOOR or (number == FLOOR and _BEFORE.match(parts[4])):
        raise EngineUnfit(
            "vLLM {version} is too old: {floor} or newer is needed.",
            version=version,
            floor=floor,
        )
    reason = KNOWN_BAD.get(".".join(map(str, number)))
    if reason is not None:
        raise EngineUnfit(
            "vLLM {version} must not be used: {reason}",
            version=version,
            reason=reason,
        )


async def ask_version(python: Path) -> str:
    """Ask for vLLM's version, and judge it. Raises: EngineMissing, EngineUnfit."""
    facts = await _ask(python, "version", seconds=VERSION_SECONDS)
    judge(facts.version)
    return facts.version


async def ask_facts(python: Path) -> Facts:
    """Ask for version, device and cards, and judge them. Raises: EngineMissing, EngineUnfit."""
    facts = await _ask(python, seconds=FACTS_SECONDS)
    judge(facts.version)
    return facts


async def _ask(python: Path, *words: str, seconds: float) -> Facts:
    source = await asyncio.to_thread(Path(__file__).with_name("vllm_probe.py").read_text, "utf-8")
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-c", source, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env=quiet_environment(os.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise EngineMissing(
            "{python} cannot be run: {error}.",
            python=python,
            error=error.strerror,
        ) from error
    try:
        async with asyncio.timeout(seconds):
            answer = await _line(process)
    except TimeoutError as error:
        raise EngineUnfit(
            "{python} did not say within {seconds:g} s what it has.",
            python=python,
            seconds=seconds,
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    try:
        return _facts.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineUnfit(
            "{python} could not say what vLLM it has; try: vllm --version",
            python=python,
        ) from error


async def _line(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:
        raise AssertionError("started with a pipe")
    with contextlib.suppress(ValueError):
        return (await process.stdout.readline())[:_MAX_ANSWER]
    return b""


_KEPT: Final = frozenset(
    {
        *(
            "CUDA_DEVICE_ORDER",
            "CUDA_HOME",
            "CUDA_VISIBLE_DEVICES",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
        ),
        *("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME"),
    }
)


def quiet_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give what vLLM may see of the owner's environment: no keys, no settings of other programs.

    It stays off the network and tells nobody that it runs.
    """
    kept = {name: value for name, value in environment.items() if name in _KEPT}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


__all__ = [
    "FLOOR",
    "KNOWN_BAD",
    "VLLM_PYTHON",
    "Card",
    "Facts",
    "ask_facts",
    "ask_version",
    "find_python",
    "judge",
    "quiet_environment",
]
