"""The body of `gai litellm`: an environment, keys, a configuration, and the proxy under watch."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.cli import output
from garage_ai.cli.errors import CliError, Failed, Refused
from garage_ai.cli.litellm_client import LiteLlmClient
from garage_ai.cli.litellm_files import Changes, changes, served, write_files
from garage_ai.cli.litellm_words import say
from garage_ai.cli.target import target_at
from garage_ai.cli.up_run import in_words
from garage_ai.integrations.litellm import (
    CONFIG,
    Environment,
    LiteLlmError,
    Prices,
    Served,
    config,
)
from garage_ai.integrations.litellm.callback import Gateway, Reporter
from garage_ai.local.errors import LocalError
from garage_ai.local.logs import LogFile, LogPipe
from garage_ai.local.ports import check_free
from garage_ai.wire.secret_files import (
    SecretFileError,
    SecretMissing,
    create_secret,
    make_private_folder,
    read_secret,
    replace_secret,
)

READY_SECONDS: Final = 300.0
"""LiteLLM imports for ten to forty seconds, on a busy machine for longer."""
GRACE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 30.0
"""How often it is looked for models and prices that LiteLLM does not know."""
RESTART_SECONDS: Final = 600.0
"""Least time between two starts for those: each costs a quarter of a minute."""

_TETHER: Final = Path(__file__).parents[1] / "local" / "tether.py"
_UNWANTED: Final = frozenset({"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"})
_OF_THE_GATEWAY: Final = ("GAI_", "AWS_")
"""Beginnings of settings among which are the passwords of its database and its bucket."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and where."""

    client: LiteLlmClient
    folder: Path
    environment: Path
    host: str
    port: int
    restart: bool
    prices: Prices | None

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def master_key(self) -> Path:
        """The file of the key that may do everything at the proxy."""
        return self.folder / "master.key"


def run_litellm(plan: Plan) -> None:
    """Run the proxy until a signal comes. Raises: CliError."""
    try:
        check_free(plan.host, plan.port, "--port")
        make_private_folder(plan.folder)
        environment = Environment(plan.environment)
        _make(environment)
        secrets_of_it = {
            "LITELLM_MASTER_KEY": _master_key(plan),
            "GAI_API_KEY": _gateway_key(plan),
        }
        asyncio.run(_Proxy(plan, environment, secrets_of_it).run())
    except LocalError as error:
        raise in_words(error) from error
    except LiteLlmError as error:
        words = say(f"error.{error.code}", message=str(error))
        raise Failed(words, say(f"error.{error.code}.next"), error.lines) from error


def _make(environment: Environment) -> None:
    """Make LiteLLM's environment, and show how far it is. Raises: LiteLlmError."""
    if environment.is_ready:
        return
    began, shown = time.monotonic(), 0
    count = len(environment.packages)
    output.remark(
        say("making", version=environment.version, folder=environment.home, count=count),
        style=None,
    )

    def tell(done: int, count: int) -> None:
        nonlocal shown
        if done >= shown + count // 10:
            shown = done
            output.remark("  " + say("making.progress", done=done, count=count))

    environment.make(tell)
    output.remark("  " + say("made", seconds=time.monotonic() - began))


def _master_key(plan: Plan) -> str:
    """Give LiteLLM's master key, made once. Raises: Failed."""
    try:
        with contextlib.suppress(SecretMissing):
            return read_secret(plan.master_key)
        made = f"sk-{secrets.token_urlsafe(32)}"
        create_secret(plan.master_key, made)
    except (SecretFileError, OSError) as error:
        raise _key_file(plan.master_key, error) from error
    output.remark(say("master.made", file=plan.master_key), style=None)
    return made


def _gateway_key(plan: Plan) -> str:
    """Give the proxy a key of its own at this gateway, if we may make one; else take the given.

    Raises: CliError.
    """
    target, file = plan.client.target, plan.folder / "gateway.key"
    try:
        with contextlib.suppress(SecretMissing, ValueError):
            kept = json.loads(read_secret(file))
            if kept.get("gateway") == target.url and _may_tell(plan, str(kept.get("key"))):
                return str(kept["key"])
        try:
            member = plan.client.create_member("LiteLLM")
            made = plan.client.create_key("litellm", ("inference", "usage"), member=member.id)
        except Refused:
            if not _may_tell(plan, target.key):
                raise Refused(say("error.usage_scope"), say("error.usage_scope.next")) from None
            return target.key
        replace_secret(file, json.dumps({"gateway": target.url, "key": made.key}))
    except (SecretFileError, OSError) as error:
        raise _key_file(file, error) from error
    output.remark(say("gateway_key.made", id=made.id, member=member.id), style=None)
    return made.key


def _may_tell(plan: Plan, key: str) -> bool:
    """Try whether the gateway lets a key tell of usage."""
    target = target_at(plan.client.target.url, key, plan.client.target.ca)
    try:
        LiteLlmClient(target).tell_litellm([])
    except Refused:
        return False
    return True


def _key_file(file: Path, error: Exception) -> Failed:
    return Failed(
        say("error.key_file", file=file, reason=str(error)[:200]), say("error.key_file.next")
    )


class _Proxy:
    """The running LiteLLM."""

    def __init__(self, plan: Plan, environment: Environment, keys: dict[str, str]) -> None:
        self._plan = plan
        self._environment = environment
        self._keys = keys
        self._log = LogFile(plan.folder / "litellm.log")
        self._signalled = asyncio.Event()
        self._signals = 0
        self._served: dict[str, Served] = {}
        self._is_configured = False
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Start it, watch it, end it. Raises: CliError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear)
        while not self._signalled.is_set():
            if not await self._once():
                return

    async def _once(self) -> bool:
        """Run one LiteLLM to its end; True when another is wanted. Raises: CliError."""
        await asyncio.to_thread(self._configure)
        pipe = LogPipe(self._log)
        try:
            self._process = process = await self._start(pipe)
            ended = asyncio.create_task(process.wait())
            signalled = asyncio.create_task(self._signalled.wait())
            try:
                await self._wait_ready(ended, signalled)
                again = await self._watch(ended, signalled)
                await self._stop(process, ended)
                return again
            finally:
                signalled.cancel()
                if process.returncode is None:
                    process.kill()
                    await ended
        finally:
            pipe.close()

    def _configure(self) -> None:
        try:
            # One that went away stays listed: its calls are answered by the gateway.
            known = self._served | {model.name: model for model in served(self._plan.client)}
            text = config(self._plan.client.target.url, known.values(), self._plan.prices)
            write_files(self._plan.folder, text)
        except CliError:
            # Started again it has its old ones, and whatever is new is looked for again.
            if not self._is_configured:
                raise
        else:
            self._served, self._is_configured = known, True

    async def _start(self, pipe: LogPipe) -> asyncio.subprocess.Process:
        plan = self._plan
        argv = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())]
        python = self._environment.python
        argv += [str(python), "-P", str(python.with_name("litellm"))]
        argv += ["--config", str(plan.folder / CONFIG), "--telemetry", "False"]
        argv += ["--host", plan.host, "--port", str(plan.port)]
        output.remark(say("starting"))
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe.writer,
            stderr=pipe.writer,
            env=self._environ(),
            cwd=plan.folder,
            start_new_session=True,  # Ctrl-C is for us; we pass on what is to be
        )
        pipe.handed_over()
        return process

    def _environ(self) -> dict[str, str]:
        target = self._plan.client.target
        kept = {name: value for name, value in os.environ.items() if _is_wanted(name)}
        ca = {"SSL_CERT_FILE": str(target.ca)} if target.ca is not None else {}
        return {
            **kept,
            **self._keys,
            **ca,
            "GAI_GATEWAY": target.url,
            "GAI_LITELLM_SPOOL": str(self._plan.folder / "spool"),
            "GRACEFUL_SHUTDOWN_TIMEOUT": f"{GRACE_SECONDS:.0f}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no list of prices from elsewhere
            "LITELLM_LOG": kept.get("LITELLM_LOG", "ERROR"),
        }

    async def _wait_ready(
        self, ended: "asyncio.Task[int]", signalled: "asyncio.Task[bool]"
    ) -> None:
        began = time.monotonic()
        while not await asyncio.to_thread(_answers, f"{self._plan.url}/health/liveliness"):
            if time.monotonic() > began + READY_SECONDS:
                raise self._failed(say("error.slow", seconds=READY_SECONDS))
            await asyncio.wait({ended, signalled}, timeout=0.3, return_when="FIRST_COMPLETED")
            if ended.done() or signalled.done():
                return
        seconds = time.monotonic() - began
        output.write(say("ready", url=self._plan.url, seconds=seconds, file=self._plan.master_key))

    async def _watch(self, ended: "asyncio.Task[int]", signalled: "asyncio.Task[bool]") -> bool:
        """Wait for a signal, an end, or a change; True to start again. Raises: Failed."""
        began, told = time.monotonic(), Changes()
        while True:
            await asyncio.wait(
                {ended, signalled}, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED"
            )
            if signalled.done():
                return False
            if ended.done():
                raise self._failed(say("error.ended", status=ended.result()))
            found = await asyncio.to_thread(self._changes)
            if found and self._plan.restart and time.monotonic() > began + RESTART_SECONDS:
                _tell(found, "")
                return True
            if found and not self._plan.restart:
                _tell(found.without(told), ".kept")
                told = found

    def _changes(self) -> Changes:
        """Look for models and prices that LiteLLM does not know."""
        try:
            return changes(self._served, served(self._plan.client))
        except CliError:
            return Changes()

    async def _stop(self, process: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
        if process.returncode is not None:
            return
        if self._signals:
            output.write(say("stopping", seconds=GRACE_SECONDS))
        process.terminate()
        await asyncio.wait({ended}, timeout=GRACE_SECONDS + 10)
        # LiteLLM logs its last calls when nothing of it can tell them any more.
        await asyncio.to_thread(self._tell_rest)
        if self._signals:
            output.write(say("stopped"))

    def _tell_rest(self) -> None:
        target = self._plan.client.target
        if target.ca is not None:
            os.environ["SSL_CERT_FILE"] = str(target.ca)
        gateway = Gateway(target.url, self._keys["GAI_API_KEY"])
        rest = Reporter(self._plan.folder / "spool", gateway)
        rest.start()
        rest.close()

    def _hear(self) -> None:
        self._signals += 1
        self._signalled.set()
        if self._signals > 1 and self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _failed(self, words: str) -> Failed:
        return Failed(words, say("error.log.next", log=self._log.path), self._log.tail(10))


def _tell(found: Changes, kept: str) -> None:
    """Say what LiteLLM is started for, or is not."""
    named = {"models.new": found.new, "prices.new": {name for name, _ in found.repriced}}
    for key, names in named.items():
        if names:
            told = ", ".join(map(output.harmless, sorted(names)))
            output.remark(say(f"{key}{kept}", names=told), style=None)


def _is_wanted(name: str) -> bool:
    """Tell whether LiteLLM, which is not ours, may read a variable of our environment."""
    return name not in _UNWANTED and not name.startswith(_OF_THE_GATEWAY)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own URL
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


__all__ = ["Plan", "run_litellm"]
