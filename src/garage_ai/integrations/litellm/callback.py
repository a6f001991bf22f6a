"""Tells a Garage AI gateway of every call that this LiteLLM proxy took.

One file, copied beside LiteLLM's config; needs only the standard library and LiteLLM. GAI_GATEWAY
says where the gateway is, GAI_API_KEY the key (scopes `inference` and `usage`), GAI_LITELLM_SPOOL
the folder for what is not told yet (`garage_ai_spool` beside this file).

A hook only puts a record into memory; one thread writes it to disk and sends it from there, in
groups, until the gateway has it. So nothing waits for the gateway, and neither a killed proxy nor a
gateway that is away loses a call. The gateway knows a call by its id: telling twice does no harm.
"""

import atexit
import fcntl
import hashlib
import json
import logging
import os
import random
import secrets
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError:  # read or tested where there is no LiteLLM
    CustomLogger = object

GROUP: Final = 80  # most calls told at once: however long their names, the gateway takes 2 MiB
LINGER: Final = 1.0  # seconds that a call may wait for others to be told with
MAX_WAITING: Final = 10_000  # most records in memory; the thread takes them out in milliseconds
MAX_REFUSED: Final = 20  # groups kept of which the gateway refused calls
MAX_SPOOL: Final = 64 * 1024 * 1024  # bytes, some 100,000 calls; more are lost, and the log says so
SEND_SECONDS: Final = 15.0
EXIT_SECONDS: Final = 5.0
PAUSES: Final = (0.5, 30.0)  # seconds after the first failure and at most, doubling, with jitter
# By it the gateway knows LiteLLM's id of a call even where LiteLLM never learns the gateway's.
CALL_HEADER: Final = "x-client-request-id"

Record = dict[str, Any]

_log: Final = logging.getLogger("garage_ai.litellm")
_HIDDEN: Final = ("llm_provider-x-request-id", "x-request-id", "request-id")
_WHO: Final = ("key_hash", "key_alias", "key_user_id", "key_team_id", "key_team_alias")


def begun(kwargs: Mapping[str, Any]) -> Record:
    """Describe a call that is about to be sent; `lost` is how it ended if nobody says more."""
    metadata = kwargs.get("metadata") or {}
    return {
        "call_id": _call_id(kwargs.get("litellm_call_id"), kwargs.get("proxy_server_request")),
        "sent": True,
        "begun_at": datetime.now(UTC).isoformat(),
        "model": _text(metadata.get("model_group") or kwargs.get("model")) or "",
        "stream": bool(kwargs.get("stream")),
        "outcome": "lost",
        **_who(metadata),
    }


def ended(payload: Record, *, failed: bool, request: Record | None = None) -> Record:
    """Describe a call that ended, from LiteLLM's `standard_logging_object` and its request."""
    error = payload.get("error_information") or {}
    code = str(error.get("error_code") or "")
    left = code == "499"
    told = payload if payload.get("completion_tokens") or not failed else {}
    return {
        "call_id": _call_id(payload.get("litellm_call_id"), request),
        "request_id": _request_id(payload, error),
        "begun_at": _moment(payload.get("startTime")),
        "ended_at": _moment(payload.get("endTime")),
        "model": _text(payload.get("model_group") or payload.get("model")) or "",
        "route": str(payload.get("call_type") or "")[:32],
        "stream": bool(payload.get("stream")),
        "outcome": "left" if left else "failed" if failed else "ok",
        "error": (_text(error.get("error_class")) or code or None) if failed or left else None,
        "prompt_tokens": _count(told.get("prompt_tokens")),
        "completion_tokens": _count(told.get("completion_tokens")),
        "cost": _cost(told.get("response_cost")),
        **_who(payload.get("metadata") or {}),
        **({"sent": False} if payload.get("cache_hit") else {}),
    }


def _call_id(name: object, request: Record | None) -> str:
    """Give LiteLLM's id of a call; what its client chose may come again, so each gets another."""
    if name and request and "x-litellm-call-id" in (request.get("headers") or {}):
        name = hashlib.sha256(f"{request.get('arrival_time')} {name}".encode()).hexdigest()[:32]
    return str(name or "")[:128]


def _who(metadata: Mapping[str, Any]) -> Record:
    return {name: _text(metadata.get(f"user_api_{name}")) for name in _WHO}


def _request_id(payload: Mapping[str, Any], error: Mapping[str, Any]) -> str | None:
    """Find the gateway's id; an answer out of LiteLLM's own cache still bears that of another."""
    if payload.get("cache_hit"):
        return None
    headers = (payload.get("hidden_params") or {}).get("additional_headers") or {}
    told = [headers.get(name) for name in _HIDDEN] + [error.get("error_provider_request_id")]
    return next((each[:64] for each in told if isinstance(each, str) and each[:4] == "req_"), None)


def _text(value: object) -> str | None:
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)[:255] or None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def _cost(value: object) -> str | None:
    return f"{value:.12f}" if isinstance(value, int | float) and 0 <= value < 1e9 else None


def _moment(seconds: object) -> str:
    known = seconds if isinstance(seconds, int | float) and 0 < seconds < 7e9 else time.time()
    return datetime.fromtimestamp(known, UTC).isoformat()


class Spool:
    """What is not told yet, on disk: one folder of lines for each process, its lock held.

    `open.jsonl` grows until its calls are due; then it is a group, under a number of its own.
    `running.jsonl` has a line for each call that was sent and one when it ended: the difference is
    what a killed process had under way. Folders without a holder are taken over.
    """

    def __init__(self, root: Path, limit: int = MAX_SPOOL) -> None:
        self.root, self.limit = root, limit
        self.lost = self.lines = self._number = self._noted = 0
        self._running: dict[str, str] = {}
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = root / f".{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        self._lock = (new / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = new.rename(root / f"p{new.name[1:]}")  # locked before others see it

    def begin(self, record: Record) -> None:
        """Note a call under way."""
        self._running[record["call_id"]] = json.dumps(record)
        self._note(self._running[record["call_id"]])

    def end(self, record: Record) -> bool:
        """Keep what is to be told of a call; False where there is no room for it."""
        record.setdefault("sent", record["call_id"] in self._running)
        self.lines += (kept := self._write("open.jsonl", json.dumps(record)))
        # After the record: a death between the two tells it twice, never not at all.
        if self._running.pop(record["call_id"], None) is not None:
            self._note(json.dumps({"ended": record["call_id"]}))
        if self.lines >= GROUP:
            self.close_group()
        return kept

    def _note(self, line: str) -> None:
        self._write("running.jsonl", line)
        self._noted += 1
        if self._noted > 10_000 + 2 * len(self._running):
            with suppress(OSError):
                beside = self.folder / "running.new"
                beside.write_text("".join(f"{each}\n" for each in self._running.values()))
                beside.replace(self.folder / "running.jsonl")
            self._noted = len(self._running)

    def close_group(self) -> None:
        """End the group that grows."""
        if self.lines:
            self._number, self.lines = self._number + 1, 0
            (self.folder / "open.jsonl").rename(self.folder / f"{self._number:09}.group")

    def groups(self) -> list[Path]:  # that wait, oldest first
        return sorted(self.folder.glob("*.group"))

    def take_over(self) -> None:
        """Make the calls of processes that are gone our own; what has no room here stays there."""
        for folder in self.root.glob("p*"):
            if folder == self.folder or not folder.is_dir():
                continue
            if sum(map(_size, self.groups())) > self.limit:
                break
            with suppress(OSError), (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in [*sorted(folder.glob("*.group")), *folder.glob("open.jsonl")]:
                    self._number += 1  # as it is: that takes no room
                    path.rename(self.folder / f"{self._number:09}.group")
                if all(self.end(record) for record in _under_way(folder)):
                    shutil.rmtree(folder)
        self.close_group()

    def done(self, group: Path, refused: list[str]) -> None:
        """Forget a group; one of which the gateway refused calls is kept for a person to read."""
        if refused:
            _log.error("the gateway refused %d calls: %s", len(refused), "; ".join(refused[:3]))
        if refused and len(list(self.root.glob("refused-*"))) < MAX_REFUSED:
            group.chmod(0o600)  # it leaves the folder that is its owner's alone
            group.rename(self.root / f"refused-{secrets.token_hex(4)}.jsonl")
        else:
            group.unlink()

    def close(self) -> None:
        """Leave what is left to the next process."""
        self.close_group()
        if not self._running and not self.groups():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _write(self, name: str, line: str) -> bool:
        try:
            if self.lines == 0 and sum(map(_size, self.groups())) > self.limit:
                raise OSError(f"{self.folder} holds more than {self.limit} bytes")
            # Straight to the system: what a killed process had written stays.
            with (self.folder / name).open("ab", buffering=0) as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            self.lost += 1
            if self.lost & (self.lost - 1) == 0:
                _log.error("%d records of calls are lost: %s", self.lost, error)
            return False
        return True


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0  # told and gone meanwhile


def _under_way(folder: Path) -> list[Record]:
    """Read which calls a process that is gone had under way."""
    running: dict[str, Record] = {}
    for record in read_lines(folder / "running.jsonl"):
        running[record.get("ended") or record.get("call_id", "")] = record
    return [record for record in running.values() if "ended" not in record]


def read_lines(path: Path) -> Iterator[Record]:
    """Read a file of records; a line that a kill cut in two is passed over."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            yield json.loads(line)


class Gateway:
    """The one request that is made here."""

    def __init__(self, url: str, key: str) -> None:
        base = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
        self._url, self._key = f"{base}/api/v1/usage/litellm", key

    def tell(self, records: list[Record]) -> list[str]:
        """Tell calls; gives why some were refused for good. Raises: OSError, ValueError."""
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        body = json.dumps({"calls": records}).encode()
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=SEND_SECONDS) as answer:  # noqa: S310
                results = json.loads(answer.read(4 << 20))["results"]
        except urllib.error.HTTPError as error:
            if error.code not in (400, 413, 422):
                raise
            return [error.read(500).decode("utf-8", "replace")]
        return [f"{each['call_id']}: {each['reason']}" for each in results if each["reason"]]


class Reporter:
    """Takes records without waiting; one thread keeps them on disk, another tells the gateway."""

    def __init__(self, root: Path, gateway: Gateway, limit: int = MAX_SPOOL) -> None:
        self._root, self._gateway, self._limit = root, gateway, limit
        self._records: deque[tuple[bool, Record]] = deque()
        self._wake, self._closing, self._kept = (threading.Event() for _ in range(3))
        self._process = self.dropped = 0
        self._keeping: threading.Thread | None = None

    def put(self, record: Record, *, has_ended: bool) -> None:
        """Take a record; never waits, never raises."""
        if self._process != os.getpid():
            self.start()
        if len(self._records) >= MAX_WAITING or not record["call_id"]:
            self.dropped += 1
            return
        self._records.append((has_ended, record))
        self._wake.set()
        if self._closing.is_set() and self._keeping and not self._keeping.is_alive():
            # LiteLLM logs its last calls while the interpreter shuts down, after our end.
            with suppress(OSError), closing(Spool(self._root, self._limit)) as spool:
                self._keep(spool)

    def start(self) -> None:  # again in a forked process
        self._process = os.getpid()
        self._keeping = threading.Thread(target=self._run, name="garage-ai-calls", daemon=True)
        self._keeping.start()

    def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Tell what can be told in that time; the rest stays on disk for the next start."""
        self._closing.set()
        self._wake.set()
        if self._keeping is not None and self._process == os.getpid():
            self._keeping.join(seconds)

    def _run(self) -> None:
        try:
            spool = Spool(self._root, self._limit)
            spool.take_over()
        except OSError as error:
            _log.error("calls cannot be kept in %s: %s", self._root, error)
            return
        (telling := threading.Thread(target=self._tell_all, args=(spool,), daemon=True)).start()
        due = time.monotonic() + LINGER
        while not self._closing.is_set():
            self._wake.wait(LINGER)
            self._wake.clear()
            self._keep(spool)
            if time.monotonic() >= due:
                spool.close_group()
                due = time.monotonic() + LINGER
        with closing(spool):
            self._keep(spool)
            spool.close_group()
            self._kept.set()
            telling.join(EXIT_SECONDS - 1)

    def _keep(self, spool: Spool) -> None:
        while self._records:
            has_ended, record = self._records.popleft()
            (spool.end if has_ended else spool.begin)(record)

    def _tell_all(self, spool: Spool) -> None:
        failures = 0
        while (groups := spool.groups()) or not self._kept.is_set():
            pause = LINGER / 4
            if groups:
                try:
                    spool.done(groups[0], self._gateway.tell(list(read_lines(groups[0]))))
                    failures, pause = 0, 0.0
                except Exception as error:  # without this thread nothing is told
                    _log.warning("%d groups of calls wait for the gateway: %s", len(groups), error)
                    pause = min(PAUSES[0] * 2**failures, PAUSES[1]) * random.uniform(0.5, 1)  # noqa: S311
                    failures = min(failures + 1, 16)
            if self._kept.wait(pause) and failures:
                return


class GarageAi(CustomLogger):  # type: ignore[misc]
    """LiteLLM's hooks: none of them waits or raises."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    async def async_pre_call_deployment_hook(self, kwargs: Record, *_: object) -> Record:
        """Note that a call is sent, and give the gateway its id."""
        with suppress(Exception):
            record = begun(kwargs)
            if record["call_id"]:
                others = kwargs.get("extra_headers") or {}
                kwargs["extra_headers"] = {**others, CALL_HEADER: record["call_id"]}
                self._reporter.put(record, has_ended=False)
        return kwargs

    async def async_log_success_event(self, kwargs: Record, **_: object) -> None:
        """Note how a call ended; for a stream once, at its end."""
        self._end(kwargs, failed=False)

    async def async_log_failure_event(self, kwargs: Record, **_: object) -> None:
        """Note that a call failed, here or at the gateway."""
        self._end(kwargs, failed=True)

    def _end(self, kwargs: Record, *, failed: bool) -> None:
        try:
            payload = kwargs["standard_logging_object"]
            request = (kwargs.get("litellm_params") or {}).get("proxy_server_request")
            self._reporter.put(ended(payload, failed=failed, request=request), has_ended=True)
        except Exception as error:
            _log.error("a call could not be described: %s", error)


def _from_environment() -> GarageAi:
    beside = Path(__file__).resolve().with_name("garage_ai_spool")
    root = Path(os.environ.get("GAI_LITELLM_SPOOL") or beside)
    gateway = Gateway(os.environ.get("GAI_GATEWAY", ""), os.environ.get("GAI_API_KEY", ""))
    reporter = Reporter(root, gateway)
    reporter.start()
    atexit.register(reporter.close)
    return GarageAi(reporter)


if __name__ == "garage_ai_litellm":  # the name it bears beside LiteLLM's config
    handler = _from_environment()
