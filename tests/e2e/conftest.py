"""The product as tests of this room find it: started from outside, some of it to be hurt."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.parts.guest import debian
from tests.parts.lent_engine import MODEL, Lent, lend
from tests.parts.product import START, Product
from tests.parts.relay import Relay
from tests.parts.waiting import eventually

# What a hostile engine may make a gateway hold; the default is larger than a test should send.
MAX_ANSWER = 4_000_000

MakeLent = Callable[..., Lent]
MakeRelay = Callable[[int], Relay]


@pytest.fixture(scope="package")
def garage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A network as ./start.sh starts it, with its real small model; to be asked, not hurt."""
    product = Product(tmp_path_factory.mktemp("garage"), command=(START,))
    product.start()
    yield product
    assert product.stop() == 0


@pytest.fixture(scope="package")
def lent_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    """A network with a mock engine, for all tests that do its processes no harm."""
    folder = tmp_path_factory.mktemp("lent")
    with ExitStack() as stack:
        product = Product(folder, "--no-node", environment={"GAI_MAX_ANSWER": str(MAX_ANSWER)})
        stack.callback(product.stop)
        product.start()
        yield lend(product, folder, stack, slots=32)


@pytest.fixture
def lent(lent_to_all: Lent) -> Lent:
    """A mock engine that does nothing but well, until the test says otherwise."""
    lent_to_all.engine.reset()
    lent_to_all.product.serves(MODEL)
    # What the test before left at work is not to be counted as this one's.
    eventually("an idle engine", lent_to_all.engine.is_idle)
    lent_to_all.engine.reset()
    return lent_to_all


@pytest.fixture(scope="package")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A network without nodes, for tests that bring and hurt their own."""
    product = Product(tmp_path_factory.mktemp("yard"), "--no-node")
    product.start()
    yield product
    assert product.stop() == 0


@pytest.fixture
def make_lent(yard: Product, tmp_path: Path) -> Iterator[MakeLent]:
    """Let volunteers join the yard; they are gone from it after the test."""
    with ExitStack() as stack:

        def make(name: str = "one", **options: object) -> Lent:
            return lend(yard, tmp_path / name, stack, **options)  # type: ignore[arg-type]

        yield make


@pytest.fixture
def own(make_lent: MakeLent) -> Lent:
    """A volunteer of this test alone, the only one in the yard."""
    return make_lent()


@pytest.fixture
def make_relay() -> Iterator[MakeRelay]:
    """Make relays to a port."""
    with ExitStack() as stack:

        def make(target: int) -> Relay:
            relay = Relay(target)
            stack.callback(relay.close)
            return relay

        yield make


@pytest.fixture(scope="session")
def debian_archive() -> Path:
    """Give the base of container images; `podman import` takes it."""
    return debian()
