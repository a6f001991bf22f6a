"""A PostgreSQL server of a test run's own: in a temporary folder, on a unix socket, killable."""

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import asyncpg

from garage_ai.storage import Storage

SUPERUSER: Final = "boss"
USER: Final = "garage"
"""Owns the databases and may do nothing else."""

_PATIENCE: Final = 30.0

# Another zone and another alphabet than the tests', so that nobody relies on the server's.
_ALPHABET: Final = (
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--locale-provider=icu",
    "--icu-locale=sv-SE",
)
_SETTINGS: Final = {
    "listen_addresses": "",
    "timezone": "Europe/Stockholm",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "log",
}
_CARELESS: Final = {"fsync": "off", "full_page_writes": "off"}


class Cluster:
    """A PostgreSQL server with databases for tests; `stop` ends it and takes its folder away.

    `durable` keeps its promises over a power cut; without it the server is twice as fast.
    """

    def __init__(self, *, durable: bool = False, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gai-postgresql-"))
        self._settings = (_SETTINGS if durable else _SETTINGS | _CARELESS) | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()

    @classmethod
    def make(cls, *, durable: bool = False, put: Sequence[Path] = (), **settings: str) -> Self:
        """Make a server's files, put some more beside them, and start it."""
        cluster = cls(durable=durable, **settings)
        _hand_over(cluster.folder)
        command = [*_as_ordinary_user(), program("initdb"), "--no-sync", "--auth=trust"]
        subprocess.run(
            [*command, *_ALPHABET, f"--username={SUPERUSER}", f"--pgdata={cluster.data}"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        for each in put:
            _hand_over(Path(shutil.copy(each, cluster.data)), 0o600)
        cluster.start()
        cluster.run(f"CREATE ROLE {USER} LOGIN")
        return cluster

    @property
    def data(self) -> Path:
        """The folder of the server's files."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self.folder / "log").read_text()

    @property
    def port(self) -> int:
        """The number in its socket's name, and its port where it listens on one."""
        return int(self._settings.get("port", "5432"))

    def url(self, database: str, user: str = USER) -> str:
        """Give the address of a database."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers; one that does already is left alone.

        Belongs to the main thread: the server ends with the thread that started it.
        """
        settings = self._settings | {"unix_socket_directories": str(self.folder)}
        options = [part for name in settings.items() for part in ("-c", "=".join(name))]
        ready = self.data / "postmaster.pid"
        if self._process is not None and self._process.poll() is None and self._is_up(ready):
            return  # without this file it would end itself within a minute
        ready.unlink(missing_ok=True)  # of one that was killed
        deadline = time.monotonic() + _PATIENCE
        with (self.folder / "log").open("ab") as log:
            # What is left of a killed server goes by itself, but a new one does not wait for it.
            while not self._is_up(ready):
                if self._process is None or self._process.poll() is not None:
                    self._process = subprocess.Popen(
                        [*_as_ordinary_user(), program("postgres"), "-D", self.data, *options],
                        stdout=log,
                        stderr=log,
                        cwd="/",
                    )
                if time.monotonic() > deadline:
                    raise AssertionError(self.log)
                time.sleep(0.02)

    @staticmethod
    def _is_up(ready: Path) -> bool:
        try:
            return ready.read_text().rstrip().endswith("ready")
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """Kill the server as `kill -9` does: it closes nothing and writes nothing more."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """Stop the server without waiting for its clients."""
        self._end(signal.SIGINT)

    def stop(self) -> None:
        """End the server and take its folder away."""
        if self._process is not None:
            self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(_PATIENCE)
        self._process = None

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in a transaction of its own."""

        async def talk() -> None:
            connection = await asyncpg.connect(self.url(database, SUPERUSER))
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        in_a_loop_of_its_own(talk())

    def create(self, template: str = "template0") -> str:
        """Make a database and give its name."""
        name = f"garage_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {USER}")
        return name

    def drop(self, name: str) -> None:
        """Take a database away, whoever is in it."""
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Give the address of a database that lasts as long as the block."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def migrate(self) -> str:
        """Make a database with this version's tables, to make others from; gives its name."""
        name = self.create()

        async def make() -> None:
            await (await Storage.open(self.url(name))).close()

        in_a_loop_of_its_own(make())
        return name


def in_a_loop_of_its_own(work: Coroutine[None, None, None]) -> None:
    """Run something to its end, wherever the caller is; in a loop too, which then stands still."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


def program(name: str) -> str:
    """Find a program of PostgreSQL; Debian keeps the server's outside of PATH."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    return str(found)


def _as_ordinary_user() -> list[str]:
    """Give the words before a command that PostgreSQL refuses to run as root."""
    words = ["setpriv", "--pdeathsig=QUIT"]
    if os.geteuid() != 0:
        return words
    user = _ordinary_user()
    return [*words, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _hand_over(path: Path, mode: int = 0o755) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        user = _ordinary_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def _ordinary_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
