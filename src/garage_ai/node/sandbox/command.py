"""One command of podman or docker: bounded in time and in what it says."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.aio import cleanup_timeout
from garage_ai.node.errors import RuntimeBroken

SECONDS: Final = 30.0
_ROOT: Final = Path("/")
_MAX_OUTPUT: Final = 4 * 1024 * 1024
_MAX_TAIL: Final = 64 * 1024
_MAX_WORDS: Final = 300
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it printed."""

    status: int
    out: str
    words: str

    @property
    def well(self) -> bool:
        """Whether it did what it was asked."""
        return self.status == 0


async def ask(
    argv: Sequence[str],
    *,
    seconds: float = SECONDS,
    stdin: bytes | None = None,
    folder: Path = _ROOT,
) -> Said:
    """Run a command in a folder and give what it says; past `seconds` it is killed.

    Podman's monitor leaves a file `oom` where it was started: not where the owner happens to be.
    Raises: RuntimeBroken when it cannot be started or does not end.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise RuntimeBroken(
            "{argv} cannot be started: {error}.",
            argv=argv[0],
            error=error.strerror,
        ) from error
    try:
        async with cleanup_timeout(seconds):
            out, words, _ = await asyncio.gather(
                _beginning(process.stdout), _end(process.stderr), _tell(process.stdin, stdin)
            )
            await process.wait()
    except TimeoutError as error:
        raise RuntimeBroken(
            "`{argv}` did not end within {seconds:g} s.",
            argv=" ".join(argv[:3]),
            seconds=seconds,
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return Said(
        process.returncode or 0,
        out.decode("utf-8", "replace"),
        last_words(words.decode("utf-8", "replace")),
    )


async def _beginning(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end, and keep what came first: what runs inside an image says what it likes."""
    kept = bytearray()
    while stream is not None and (piece := await stream.read(_PIECE)):
        kept += piece[: _MAX_OUTPUT - len(kept)]
    return bytes(kept)


async def _end(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end, and keep what came last."""
    kept = b""
    while stream is not None and (piece := await stream.read(_PIECE)):
        kept = (kept + piece)[-_MAX_TAIL:]
    return kept


async def _tell(stream: asyncio.StreamWriter | None, text: bytes | None) -> None:
    """Say something to a command, as far as it listens."""
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(text or b"")
        await stream.drain()
    stream.close()


def last_words(text: str) -> str:
    """Give the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_MAX_WORDS] if lines else "it said nothing"


__all__ = ["SECONDS", "Said", "ask", "last_words"]
