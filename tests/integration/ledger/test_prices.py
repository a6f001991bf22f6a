"""The price list: published, changed with notice, and the same in every gateway."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from garage_ai.audit.models import Actor
from garage_ai.audit.service import AuditLog
from garage_ai.ledger.charges import Price
from garage_ai.ledger.errors import InvalidPrice, PriceTooSoon
from garage_ai.ledger.models import NanoGai
from garage_ai.ledger.prices import ANY_MODEL, HIGHEST, NOTICE, SOON, PriceList
from garage_ai.storage import OPERATOR, Storage

pytestmark = pytest.mark.anyio

ADMIN = Actor.key("key_admin", OPERATOR)
DIGEST = "sha256:" + "a" * 64


def price(prompt: int, completion: int = 0) -> Price:
    return Price(NanoGai(prompt), NanoGai(completion))


DERIVED = [(DIGEST, price(10, 100), "tiny"), (ANY_MODEL, price(20, 200), "any")]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 12, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def prices(storage: Storage, clock: Clock) -> AsyncIterator[PriceList]:
    opened = await PriceList.open(storage, DERIVED, clock=clock)
    yield opened
    await opened.close()


async def test_a_model_costs_what_its_manifest_costs(prices: PriceList) -> None:
    """The digest decides, then the name, and whatever is left costs like any model."""
    assert prices.price(DIGEST, "tiny") == price(10, 100)
    assert prices.price(None, "tiny") == price(20, 200)
    assert prices.price("sha256:" + "b" * 64, "theirs") == price(20, 200)


async def test_a_new_price_comes_with_notice(prices: PriceList, clock: Clock) -> None:
    """It holds from its moment on, and what was admitted before keeps the price it has."""
    admitted = prices.price(None, "theirs")
    await prices.set("theirs", price(5), by=ADMIN, note="half")
    assert prices.price(None, "theirs") == admitted
    assert [each.subject for each in prices.coming] == ["theirs"]
    clock.now += NOTICE
    assert prices.price(None, "theirs") == price(5)
    assert admitted == price(20, 200)


async def test_the_past_stays(prices: PriceList, clock: Clock) -> None:
    """A price cannot be set for a moment that has been, nor for one that gateways may miss."""
    for moment in (clock.now - timedelta(days=1), clock.now, clock.now + NOTICE / 2):
        with pytest.raises(PriceTooSoon):
            await prices.set("theirs", price(5), by=ADMIN, effective_from=moment)
    assert len(prices.history()) == len(DERIVED)


async def test_history_tells_every_price(prices: PriceList, clock: Clock) -> None:
    """Newest first, those to come among them, with who set them; of one model or of all."""
    await prices.set(DIGEST, price(11, 110), by=ADMIN)
    later = clock.now + timedelta(days=30)
    await prices.set(DIGEST, price(12, 120), by=ADMIN, effective_from=later)
    told = [(each.price.prompt, each.set_by) for each in prices.history(DIGEST)]
    assert told == [(12, OPERATOR), (11, OPERATOR), (10, None)]
    assert len(prices.history()) == 4


async def test_a_later_version_changes_nothing_by_itself(
    prices: PriceList, storage: Storage, clock: Clock
) -> None:
    """What is derived differently now is published only where there was no price."""
    again = [(DIGEST, price(99), "tiny"), ("sha256:" + "c" * 64, price(7), "new")]
    opened = await PriceList.open(storage, again, clock=clock)
    await opened.close()
    assert opened.price(DIGEST, "tiny") == price(10, 100)
    assert opened.price("sha256:" + "c" * 64, "new") == price(7)


async def test_a_model_that_is_added_has_a_price_soon(
    prices: PriceList, database: str, clock: Clock
) -> None:
    """From one moment on at all gateways, which derive it at about the same time."""
    new = [(DIGEST, price(99), "tiny"), ("sha256:" + "c" * 64, price(7), "new")]
    storage = await Storage.open(database)
    elsewhere = await PriceList.open(storage, DERIVED, clock=clock)
    for each in (prices, elsewhere):
        await each.publish(new)
        clock.now += SOON / 4
    lists = (prices, elsewhere)
    assert [each.price("sha256:" + "c" * 64, "new") for each in lists] == [price(20, 200)] * 2
    clock.now += SOON / 2
    assert [each.price("sha256:" + "c" * 64, "new") for each in lists] == [price(7)] * 2
    assert prices.price(DIGEST, "tiny") == price(10, 100)
    await elsewhere.close()
    await storage.close()


async def test_no_model_costs_beyond_all_measure(prices: PriceList, clock: Clock) -> None:
    """Whatever size its manifest says it has, it is added, and so is what comes after it."""
    beyond = price(HIGHEST + 1, 10**30)
    await prices.publish([("sha256:" + "c" * 64, beyond, "vast"), ("sha256:x", price(7), "new")])
    clock.now += SOON
    assert prices.price("sha256:" + "c" * 64, "vast") == price(HIGHEST, HIGHEST)
    assert prices.price("sha256:x", "new") == price(7)


async def test_who_priced_a_name_has_priced_what_is_added_under_it(
    prices: PriceList, clock: Clock
) -> None:
    """A formula does not take the place of an administrator's word."""
    await prices.set("theirs", price(5), by=ADMIN)
    clock.now += NOTICE
    await prices.publish([("sha256:" + "c" * 64, price(7), "theirs")])
    clock.now += SOON
    assert prices.price("sha256:" + "c" * 64, "theirs") == price(5)


async def test_other_gateways_hear_of_it_before_it_holds(
    prices: PriceList, database: str, clock: Clock
) -> None:
    """Another process has the entry after its next look, and chooses it at the same moment."""
    storage = await Storage.open(database)
    elsewhere = await PriceList.open(storage, DERIVED, clock=clock)
    await prices.set(ANY_MODEL, price(1, 2), by=ADMIN)
    await elsewhere.refresh()
    assert elsewhere.price(None, "x") == price(20, 200)
    clock.now += NOTICE
    assert elsewhere.price(None, "x") == prices.price(None, "x") == price(1, 2)
    await elsewhere.close()
    await storage.close()


@pytest.mark.parametrize(
    ("subject", "amount", "note"),
    [("", 1, ""), ("x", -1, ""), ("x", HIGHEST + 1, ""), ("x\n", 1, "a\nb"), ("y" * 256, 1, "")],
)
async def test_no_price_is_refused(prices: PriceList, subject: str, amount: int, note: str) -> None:
    """For nothing, below zero, or beyond all measure."""
    with pytest.raises(InvalidPrice):
        await prices.set(subject, price(amount), by=ADMIN, note=note)


async def test_who_set_a_price_is_logged(prices: PriceList, storage: Storage) -> None:
    """With the figures, in the log that takes nothing back; what was refused is not there."""
    entry = await prices.set("theirs", price(5, 7), by=ADMIN)
    with pytest.raises(InvalidPrice):
        await prices.set("theirs", price(-1), by=ADMIN)
    [told] = await AuditLog(storage).latest()
    assert (told.action, told.subject, told.actor_id) == ("price.set", "theirs", "key_admin")
    assert entry.id in told.details
    assert '"completion":"7"' in told.details


async def test_batches_pay_a_part(prices: PriceList, clock: Clock) -> None:
    """Half of what is published, rounded up; what an entry says of it holds with its price."""
    assert prices.entry(DIGEST, "tiny").batch_price == price(5, 50)
    await prices.set("theirs", price(5, 7), by=ADMIN, batch_permille=1000)
    await prices.set(ANY_MODEL, price(5, 7), by=ADMIN)
    clock.now += NOTICE
    assert prices.entry(None, "theirs").batch_price == price(5, 7)
    assert prices.entry(None, "x").batch_price == price(3, 4)
    for permille in (-1, 1001):
        with pytest.raises(InvalidPrice):
            await prices.set("theirs", price(5), by=ADMIN, batch_permille=permille)


async def test_what_held_at_a_moment_is_known_later(prices: PriceList, clock: Clock) -> None:
    """By the digest, then the name, then any: as it was then, whatever came since."""
    then = clock.now
    await prices.set(DIGEST, price(11, 110), by=ADMIN)
    await prices.set("theirs", price(5), by=ADMIN)
    clock.now += NOTICE
    assert prices.entry_at(then, DIGEST, "tiny").price == price(10, 100)
    assert prices.entry_at(clock.now, DIGEST, "tiny").price == price(11, 110)
    assert prices.entry_at(then, None, "theirs").price == price(20, 200)
    assert prices.entry_at(clock.now, None, "theirs").price == price(5)
