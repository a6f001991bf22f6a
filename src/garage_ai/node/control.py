"""Talking to the agent that runs on this PC: a unix socket for its owner alone, JSON by line.

→ {"op": "status"}                  ← the agent's `Status`
→ {"op": "pause"} resume, drain     ← the same, after the change; a pause may bring its `pause`
→ {"op": "limits"}                  ← the same; the limits in the folder are taken over
→ {"op": "rotate"}                  ← the same; `rotation` then tells how the new key fares
→ {"op": "stop"}                    ← the same; the agent then finishes what runs and ends
→ {"op": "restart"}                 ← the same; after that it starts anew, in the same process
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from garage_ai.node.engines.link import socket_path
from garage_ai.node.errors import NoAgent, NodeError
from garage_ai.node.folder import NodeFolder
from garage_ai.node.pauses import Pause
from garage_ai.node.status import Status

_log = structlog.get_logger(__name__)

Op = Literal["status", "pause", "resume", "limits", "drain", "rotate", "stop", "restart"]

SOCKET: Final = "agent.sock"
_REQUEST_SECONDS: Final = 5.0
_MAX_LINE: Final = 4096
_MAX_ANSWER: Final = 1024 * 1024


class Ask(msgspec.Struct, frozen=True):
    """What the owner wants."""

    op: Op
    pause: Pause | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the agent says to it."""

    status: Status | None = None
    error: str = ""


class LinkSigns(msgspec.Struct, frozen=True):
    """The link's state."""

    state: str = ""


class GroupSigns(msgspec.Struct, frozen=True):
    """Where its group stands."""

    phase: str = ""
    waits: bool = False


class Signs(msgspec.Struct, frozen=True):
    """As much of an agent's status as an older or newer version can tell."""

    pid: int = 0
    agent: str = ""
    state: str = ""
    link: LinkSigns = LinkSigns()
    waits_for_room: bool = False
    group: GroupSigns | None = None


class _Glance(msgspec.Struct, frozen=True):
    status: Signs = Signs()


_asks: Final = msgspec.json.Decoder(Ask)
_answers: Final = msgspec.json.Decoder(Answer)
_glances: Final = msgspec.json.Decoder(_Glance)


class ControlServer:
    """Serve the owner's commands; `act` does one and gives the state after it."""

    def __init__(self, run: Path, act: Callable[[Ask], Status]) -> None:
        self._run = run
        self._act = act
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket left by an agent that died is replaced (the folder's lock is ours)."""
        (self._run / SOCKET).unlink(missing_ok=True)
        with _reachable(self._run) as path:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(path)
                (self._run / SOCKET).chmod(0o600)
                self._server = await asyncio.start_unix_server(
                    self._serve, sock=listener, limit=_MAX_LINE
                )
            except BaseException:
                listener.close()
                raise

    async def stop(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            (self._run / SOCKET).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                line = await reader.readline()
                writer.write(msgspec.json.encode(self._answer(line)) + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, OSError) as error:
            _log.debug("control_failed", detail=str(error))
        finally:
            writer.close()

    def _answer(self, line: bytes) -> Answer:
        try:
            ask = _asks.decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            return Answer(error=f"not understood: {str(error)[:200]}")
        try:
            return Answer(status=self._act(ask))
        except (NodeError, OSError) as error:
            return Answer(error=str(error)[:500])


def ask_agent(run: Path, op: Op, *, pause: Pause | None = None) -> Status:
    """Tell the agent of this folder something, and give its state after that. Blocks.

    Raises: NoAgent.
    """
    try:
        line = _exchange(run, msgspec.json.encode(Ask(op, pause)) + b"\n")
        answer = _answers.decode(line)
    except (OSError, msgspec.MsgspecError) as error:
        raise _no_answer(NodeFolder(run.parent)) from error
    if answer.status is None:
        raise NoAgent("The agent did not do it: {error}", error=answer.error)
    return answer.status


def _no_answer(folder: NodeFolder) -> NoAgent:
    pid = folder.holder
    if pid is None:
        return NoAgent(
            "No agent is running from {folder}. Start it with: gai node run", folder=folder.path
        )
    return NoAgent(
        "The agent (pid {pid}) does not answer yet: it fetches its model or makes its engine "
        "ready. Ask again in a while.",
        pid=pid,
    )


def glance(run: Path) -> Signs:
    """Look how the agent of this folder is, whatever its version; nothing where there is none."""
    try:
        return _glances.decode(_exchange(run, b'{"op":"status"}\n')).status
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Signs()


def _exchange(run: Path, request: bytes) -> bytes:
    with _reachable(run) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_REQUEST_SECONDS)
        link.connect(path)
        link.sendall(request)
        parts = bytearray()
        while not parts.endswith(b"\n") and len(parts) < _MAX_ANSWER:
            part = link.recv(65_536)
            if not part:
                break
            parts += part
        return bytes(parts)


@contextlib.contextmanager
def _reachable(run: Path) -> Iterator[str]:
    """Name the socket in a way short enough for any folder. Raises: OSError."""
    handle = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield socket_path(handle, SOCKET)
    finally:
        os.close(handle)


__all__ = [
    "SOCKET",
    "Ask",
    "ControlServer",
    "GroupSigns",
    "LinkSigns",
    "Op",
    "Signs",
    "ask_agent",
    "glance",
]
