"""What a node keeps in its folder.

identity.json   who it is in the network, and how it was last run
node.nk         its key (0600)             node.jwt   the network's word for it (0600)
paused          there while the owner wants the PC for himself; holds the end, if there is one
limits.json     when the node may serve        tally.json  what it sent, made and drew
prices/         electricity prices of the last days, if the owner set a limit
group.json      the group it is part of, if any   group.secret  what the group shares (0600)
agent.lock      held by the agent that runs
run/            sockets (0700)             logs/      what the engine says
images.json     which images its sandbox was built from
seccomp.json    the system calls that its engine may make
memory.json     what engines were measured to hold here, and what did not fit
benchmarks.json how fast they were
models/         weights that were fetched; checked/ and locks/ belong to them
manifests/      what the network said of models that the installation does not know
versions/       other versions of the agent, and which one is chosen
service.env     what its service goes by (0600)

`leaving` knows all of these: what is added here is removed there.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import structlog

from garage_ai.node.errors import AlreadyRunning, NotEnrolled
from garage_ai.node.pauses import Pause, pause_in, pause_text
from garage_ai.wire.identity import IdentityFolder
from garage_ai.wire.ids import NodeId
from garage_ai.wire.secret_files import (
    SecretFileError,
    SecretMissing,
    make_private_folder,
    read_secret,
    remove_secret,
    replace_secret,
)

_log = structlog.get_logger(__name__)

RECORD: Final = "identity.json"
TOKEN_VARIABLE: Final = "GAI_NODE_TOKEN"  # noqa: S105 - a name
"""Names the environment's variable for an enrolment token that no command line shows."""

URLS_VARIABLE: Final = "GAI_NODE_URLS"
"""Names the one for where NATS is on this PC: `gai up` tells its own node, whatever others dial."""

LOCK: Final = "agent.lock"
_PAUSED: Final = "paused"

SandboxChoice = Literal["auto", "podman", "docker", "none"]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the node is run: which engine, fenced in by what. None: the default is to be taken.

    `picked`: `models` is what the network's order chose for the cards here, and no word of the
    owner's.
    """

    engine: Text = "llamacpp"
    engine_url: Text | None = None
    models: tuple[Text, ...] = ()
    picked: bool = False
    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    context: Annotated[int, msgspec.Meta(ge=128, le=1 << 24)] | None = None
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    vllm_python: Text | None = None
    tensor_parallel: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    memory_share: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    kv_cache_gib: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    chat_template: Text | None = None
    gpus: tuple[Text, ...] = ()
    gpu_layers: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    sandbox: SandboxChoice = "auto"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who the node is: what the gateway said at enrolment. No secret is in it."""

    node: Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
    member: Text
    name: Text
    region: Text | None = None
    gateway: Text
    urls: tuple[Text, ...]
    ca_pem: Annotated[str, msgspec.Meta(max_length=65_536)] | None = None
    choice: Choice = Choice()


_records: Final = msgspec.json.Decoder(Record)


class NodeFolder:
    """A node's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.identity = IdentityFolder(self.path)
        self._unkept: Pause | None = None

    @property
    def run(self) -> Path:
        """Where sockets are."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """Where logs are."""
        return self.path / "logs"

    def prepare(self) -> None:
        """Make the folders, for the owner alone."""
        for folder in (self.path, self.run, self.logs):
            make_private_folder(folder)

    def load(self) -> Record:
        """Read who the node is. Raises: NotEnrolled."""
        try:
            return _records.decode(read_secret(self.path / RECORD))
        except SecretMissing as error:
            raise NotEnrolled(
                "No node has its home in {folder}. Enrol with: gai node join URL TOKEN",
                folder=self.path,
            ) from error
        except (SecretFileError, msgspec.MsgspecError) as error:
            raise NotEnrolled(
                "{file} cannot be used: {error}", file=self.path / RECORD, error=error
            ) from error

    def save(self, record: Record) -> None:
        """Keep who the node is."""
        text = json.dumps(msgspec.to_builtins(record), indent=2)
        replace_secret(self.path / RECORD, text + "\n")

    def forget(self) -> None:
        """Remove the identity; the node is nobody then."""
        remove_secret(self.path / RECORD)
        remove_secret(self.path / _PAUSED)
        self.identity.forget()

    @property
    def pause(self) -> Pause | None:
        """The owner's pause; None when there is none or it is over."""
        try:
            pause = pause_in(read_secret(self.path / _PAUSED))
        except SecretMissing:
            if self._unkept is None:
                return None
            pause = self._unkept
        except SecretFileError:
            # There is one, whatever is the matter with it.
            return Pause()
        return None if pause.until is not None and pause.until <= time.time() else pause

    @pause.setter
    def pause(self, pause: Pause | None) -> None:
        self._unkept = None
        if pause is None:
            (self.path / _PAUSED).unlink(missing_ok=True)
        else:
            replace_secret(self.path / _PAUSED, pause_text(pause) + "\n")

    def pause_at_once(self, pause: Pause) -> None:
        """Pause whatever becomes of it: one that no disk keeps holds while this process lives."""
        try:
            self.pause = pause
        except OSError as error:
            self._unkept = pause
            _log.warning("pause_not_kept", detail=str(error))

    @property
    def paused(self) -> bool:
        """Whether the owner has paused the node."""
        return self.pause is not None

    @property
    def held(self) -> bool:
        """Whether an agent holds the folder now."""
        try:
            handle = os.open(self.path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    @property
    def holder(self) -> int | None:
        """The process that holds the folder, by its own word; None where it is gone.

        Nothing is locked to find that out, which could keep an agent from starting just then.
        """
        try:
            pid = int((self.path / LOCK).read_text("ascii"))
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        # Its number may be another's by now.
        return pid if b"garage_ai" in line else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process. Raises: AlreadyRunning."""
        make_private_folder(self.path)
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise AlreadyRunning(
                    "Another agent (pid {pid}) already serves from {folder}. "
                    "Stop it first, or use another --data-dir.",
                    pid=pid,
                    folder=self.path,
                ) from error
            # For people to read; a disk that is full keeps no agent from its work.
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)


__all__ = [
    "LOCK",
    "RECORD",
    "TOKEN_VARIABLE",
    "URLS_VARIABLE",
    "Choice",
    "NodeFolder",
    "Record",
    "SandboxChoice",
]
