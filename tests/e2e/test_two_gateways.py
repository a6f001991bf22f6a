"""Two gateways on one PostgreSQL and one NATS server: either does what the other would."""

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.parts.lent_engine import MODEL, Engine, Node
from tests.parts.nats import NatsProcess
from tests.parts.postgresql import Cluster
from tests.parts.product import Product
from tests.parts.program import GAI, Program
from tests.parts.waiting import eventually

from garage_ai.network.authority import Authority

pytestmark = pytest.mark.system

SOON = 1.5
"""What takes a second by the book, where the machine does nothing else for that long."""


class Gateway(Product):
    """A gateway alone: asked like the whole product, with a data folder and a port of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir()
        told = {f"GAI_{name.upper()}": value for name, value in settings.items()}
        super().__init__(folder, environment=told)
        self._gateway: Program | None = None

    @property
    def process(self) -> Program:
        """The running gateway."""
        assert self._gateway is not None
        return self._gateway

    def begin(self) -> None:
        """Start it and do not wait."""
        argv: list[str | Path] = [GAI, "gateway", "--port", str(self.port), "--data-dir", self.data]
        self._gateway = Program("gateway", argv, self.folder, self.environment)

    def answers(self) -> bool:
        """Tell whether it answers."""
        assert self.process.ended is None, self.process.tail()
        try:
            return self.http.get("/v1/models").status == 200
        except OSError:
            return False

    def wait(self) -> None:
        """Wait until it answers."""
        eventually("the gateway", self.answers, 30)

    def end(self) -> None:
        """End it at once."""
        if self._gateway is not None:
            self._gateway.end_all()

    def knows(self, key: str) -> float:
        """Wait until a key is served, which is one request, and tell how many seconds it took."""
        user, began = self.http.with_key(key), time.monotonic()
        eventually("the key", lambda: user.chat(MODEL).status == 200)
        return time.monotonic() - began

    def refuses(self, key: str) -> float:
        """Wait until a key is served no more, and tell how many seconds that took."""
        user, began = self.http.with_key(key), time.monotonic()
        # The second is said where the same address has asked with keys in vain too often.
        refusals = {"revoked_api_key", "too_many_failures"}
        eventually("a refusal", lambda: user.chat(MODEL).code in refusals)
        return time.monotonic() - began

    def recorded(self, key_id: str, count: int) -> list[dict[str, Any]]:
        """Wait until all requests of a key are recorded, and give the records."""
        eventually("the records", lambda: len(self.records(key_id)) >= count, 20)
        found = self.records(key_id)
        assert [each["outcome"] for each in found] == ["ok"] * count
        return found

    def says(self, where: str) -> None:
        """Wait until it says so of the database."""

        def said() -> bool:
            answer = self.http.get("/health/ready")
            return answer.status == 200 and answer.json()["database"] == where

        eventually(f"a database that is {where}", said)


@dataclass(frozen=True)
class Pair:
    """Two gateways, what they share, and a node that serves both."""

    one: Gateway
    other: Gateway
    postgresql: Cluster
    node: Node
    engine: Engine

    @property
    def both(self) -> tuple[Gateway, Gateway]:
        """The two of them."""
        return self.one, self.other


@contextmanager
def two(folder: Path) -> Iterator[Pair]:
    """Start both at once on an empty database, and let a volunteer join at the first."""
    with ExitStack() as stack:
        postgresql = Cluster.make(durable=True)
        stack.callback(postgresql.stop)
        nats = NatsProcess(Authority.open_or_create(folder / "nats"), folder)
        stack.callback(nats.stop)
        asyncio.run(nats.start())
        shared = {
            "database_url": postgresql.url(postgresql.create()),
            "nats_urls": nats.tcp_url,
            "authority_dir": str(folder / "nats"),
        }
        one, other = Gateway(folder / "one", **shared), Gateway(folder / "other", **shared)
        stack.callback(one.end)
        stack.callback(other.end)
        one.begin()
        other.begin()
        one.wait()
        other.wait()
        engine = Engine(folder / "engine")
        stack.callback(engine.stop)
        engine.start()
        node = Node(folder / "volunteer", one, engine)
        stack.callback(node.end)
        node.join()
        node.serving()
        other.serves(MODEL)
        yield Pair(one, other, postgresql, node, engine)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with two(tmp_path_factory.mktemp("pair")) as started:
        yield started


@pytest.fixture
def hurt(tmp_path: Path) -> Iterator[Pair]:
    with two(tmp_path) as started:
        yield started


def test_a_key_works_at_both(pair: Pair) -> None:
    """Made at one it is known at the other within a second, and so is its revocation."""
    for here, there in (pair.both, pair.both[::-1]):
        known, refused = [], []
        for _ in range(3):
            made = here.new_key()
            known.append(there.knows(made["key"]))
            assert here.http.ask("DELETE", f"/api/v1/keys/{made['id']}").status == 200
            refused.append(there.refuses(made["key"]))
        # One of three each way: the machine may be busy with something else in between.
        assert min(known) < SOON
        assert min(refused) < SOON


def test_each_has_an_admin_key_that_both_know(pair: Pair) -> None:
    """With a data folder of its own each made one."""
    assert pair.one.key != pair.other.key
    for here, there in (pair.both, pair.both[::-1]):
        assert here.http.with_key(there.key).get("/api/v1/keys").status == 200


def test_usage_of_both_is_in_one_table(pair: Pair) -> None:
    """Whichever is asked tells of all requests, each once."""
    made = pair.one.new_key()
    for gateway in pair.both:
        gateway.knows(made["key"])
        for _ in range(4):
            assert gateway.http.with_key(made["key"]).chat(MODEL).status == 200
    for gateway in pair.both:
        records = gateway.recorded(made["id"], 10)
        assert len({each["request_id"] for each in records}) == 10
        assert {each["node"] for each in records} == {pair.node.id}


def test_nodes_are_the_same_at_both(pair: Pair) -> None:
    """The volunteer joined at one."""
    for gateway in pair.both:
        assert [each["id"] for each in gateway.nodes()] == [pair.node.id]


def test_one_may_die(hurt: Pair) -> None:
    """Killed in the middle of work, it costs the other nothing; started again it works."""
    made = hurt.other.new_key()
    user = hurt.other.http.with_key(made["key"])

    def ask(_: int) -> int:
        return user.chat(MODEL).status

    with ThreadPoolExecutor(4) as threads:
        asked = threads.map(ask, range(60))
        hurt.one.process.signal(signal.SIGKILL)
        hurt.one.process.process.wait(10)
        assert list(asked) == [200] * 60
    hurt.other.recorded(made["id"], 60)
    hurt.one.begin()
    hurt.one.wait()
    hurt.one.serves(MODEL)
    hurt.one.knows(made["key"])


def test_one_may_leave(hurt: Pair) -> None:
    """In the middle of a stream it says that it goes, ends the stream whole, and then goes."""
    one = hurt.one
    assert one.http.get("/health/ready").status == 200
    hurt.engine.set(chunk_delay=0.05, chunks=60)
    with one.http.stream(MODEL) as stream:
        stream.content()
        one.process.signal(signal.SIGTERM)
        eventually("503", lambda: one.http.get("/health/ready").status == 503)
        assert one.http.get("/health/ready").code == "shutting_down"
        assert one.http.get("/health/live").status == 200
        assert one.http.chat(MODEL, max_tokens=1).status == 200
        assert stream.rest().done
    assert one.process.process.wait(30) == 0
    assert hurt.other.http.get("/health/ready").status == 200
    assert hurt.other.http.chat(MODEL).status == 200


def test_the_database_may_be_away_for_a_while(hurt: Pair) -> None:
    """Known keys are served, readiness tells, and no record of that time is missing after it."""
    made = hurt.one.new_key()
    for gateway in hurt.both:
        gateway.knows(made["key"])
    hurt.postgresql.kill()
    for gateway in hurt.both:
        gateway.says("away")
        for _ in range(5):
            assert gateway.http.with_key(made["key"]).chat(MODEL).status == 200
        assert gateway.http.ask("POST", "/api/v1/keys", {"name": "later"}).status == 503
    hurt.postgresql.start()
    for gateway in hurt.both:
        gateway.says("reachable")
    hurt.one.recorded(made["id"], 12)
