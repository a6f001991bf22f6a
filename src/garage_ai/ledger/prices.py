"""What models cost: a list with its history in SQL, looked up in memory.

An entry is never changed: a new price is a new entry, from a moment that every gateway hears of
before it comes.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from sqlalchemy import Row, func, insert, select

from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Detail, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.catalog import CHAT_ALIAS
from garage_ai.ledger.charges import MILLE, Price
from garage_ai.ledger.errors import InvalidPrice, PriceTooSoon
from garage_ai.ledger.models import GAI, NanoGai
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import prices
from garage_ai.storage.watch import Watch

ANY_MODEL: Final = "*"
"""Whose price holds for models that have none of their own."""

REFRESH_SECONDS: Final = 15.0
"""How often other processes' entries are looked for."""

NOTICE: Final = timedelta(minutes=1)
"""How long before it holds a price must be known; several looks, so that gateways agree."""

HIGHEST: Final = NanoGai(1000 * GAI)
"""A price above it is a slip of the keyboard, and its charges would burst the columns."""

BATCH_PERMILLE: Final = 500
"""Thousandths of the price that batches pay, unless an entry says otherwise: they take what chat
leaves over and can wait a day, for which commercial networks ask half, too."""

SOON: Final = timedelta(seconds=2)
"""How long before it holds a price is derived while gateways run: each looks for new models more
often than that, and prices them at once."""

_MAX_SUBJECT: Final = 255


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """A price from a moment on.

    `subject` is a manifest's digest, the name of a model that has no manifest here, or ANY_MODEL.
    `set_by` is None for what a version derived by itself. Batches pay `batch_permille` thousandths.
    """

    id: str
    subject: str
    price: Price
    effective_from: datetime
    set_at: datetime
    set_by: MemberId | None
    note: str
    batch_permille: int = BATCH_PERMILLE

    @property
    def batch_price(self) -> Price:
        """What a batch pays; rounded up, so that nothing becomes free."""
        return Price(
            *(
                NanoGai(-(-each * self.batch_permille // MILLE))
                for each in (self.price.prompt, self.price.completion)
            )
        )


class PriceList:
    """The prices of this moment, and how they came about.

    While the database cannot be read the prices that are known go on holding; `failures` counts
    such looks. All methods belong to the event loop.
    """

    def __init__(self, storage: Storage, *, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._log = AuditLog(storage, clock)
        self._clock = clock
        self._entries: tuple[PriceEntry, ...] = ()
        self._held: dict[str, PriceEntry] = {}
        self._until: datetime | None = None
        self._watch = Watch(self.refresh, "prices", REFRESH_SECONDS)

    @classmethod
    async def open(
        cls,
        storage: Storage,
        derived: Iterable[tuple[str, Price, str]],
        *,
        clock: Clock = utc_now,
    ) -> Self:
        """Publish what has no price yet, load the list, and look for changes until `close`.

        `derived` gives subjects, prices and notes; ANY_MODEL must be known afterwards.
        Raises: StorageError.
        """
        opened = cls(storage, clock=clock)
        await opened._publish(derived, clock())
        await opened.refresh()
        opened._watch.start()
        return opened

    async def close(self) -> None:
        """Stop looking for changes."""
        await self._watch.close()

    @property
    def failures(self) -> int:
        """How many looks failed."""
        return self._watch.failures

    def price(self, digest: str | None, model: str) -> Price:
        """Give what a model costs now: by its manifest, else its name, else like any other."""
        return self.entry(digest, model).price

    def entry(self, digest: str | None, model: str) -> PriceEntry:
        """Give the entry whose price holds for a model now."""
        if self._until is not None and self._clock() >= self._until:
            self._hold()
        held = self._held
        return (held.get(digest) if digest else None) or held.get(model) or held[ANY_MODEL]

    def entry_at(self, moment: datetime, digest: str | None, model: str) -> PriceEntry:
        """Give the entry whose price held for a model at a moment, by the same order."""
        for subject in (digest, model, ANY_MODEL):
            found = [each for each in self._entries if each.subject == subject]
            held = [each for each in found if each.effective_from <= moment]
            if held:
                return held[-1]
        return self._held[ANY_MODEL]

    @property
    def held(self) -> Sequence[PriceEntry]:
        """All entries that hold now, by subject."""
        if self._until is not None and self._clock() >= self._until:
            self._hold()
        return [self._held[subject] for subject in sorted(self._held)]

    @property
    def coming(self) -> Sequence[PriceEntry]:
        """Entries that will hold, the next first."""
        now = self._clock()
        return [entry for entry in self._entries if entry.effective_from > now]

    def history(self, subject: str | None = None) -> Sequence[PriceEntry]:
        """Give every price there was or will be, the newest first; of one subject or of all."""
        found = (each for each in self._entries if subject in (None, each.subject))
        return list(reversed(list(found)))

    async def set(
        self,
        subject: str,
        price: Price,
        *,
        by: Actor = GATEWAY,
        effective_from: datetime | None = None,
        note: str = "",
        batch_permille: int = BATCH_PERMILLE,
    ) -> PriceEntry:
        """Add an entry, which holds after NOTICE if no moment is given, and log who did.

        Raises: InvalidPrice, PriceTooSoon, StorageError.
        """
        now = self._clock()
        entry = PriceEntry(
            "prc_" + secrets.token_hex(8),
            _checked_subject(subject),
            _checked_price(price),
            effective_from or now + NOTICE,
            now,
            MemberId(by.member) if by.member is not None else None,
            _checked_note(note),
            _checked_permille(batch_permille),
        )
        if entry.effective_from < now + NOTICE:
            raise PriceTooSoon(f"a price holds {NOTICE.seconds} s after it was set at the earliest")
        async with self._storage.write(in_turn=True) as connection:
            await connection.execute(insert(prices).values(**_values(entry)))
            await self._log.record(connection, _act(entry, by))
        await self.refresh()
        return entry

    async def publish(self, derived: Iterable[tuple[str, Price, str]]) -> None:
        """Add what has no price yet; it holds after SOON. Raises: StorageError."""
        await self._publish(derived, self._clock() + SOON)
        await self.refresh()

    async def refresh(self) -> None:
        """Take over what other processes added. Raises: StorageError."""
        async with self._storage.read() as connection:
            count = await connection.scalar(select(func.count()).select_from(prices))
            if count == len(self._entries):
                return
            rows = await connection.execute(select(prices).order_by(prices.c.effective_from))
            entries = sorted(map(_entry, rows), key=lambda each: (each.effective_from, each.set_at))
        self._entries = tuple(entries)
        self._hold()

    def _hold(self) -> None:
        """Choose the entries that hold now, and note when to choose again."""
        now = self._clock()
        self._held = {each.subject: each for each in self._entries if each.effective_from <= now}
        later = (each.effective_from for each in self._entries if each.effective_from > now)
        self._until = min(later, default=None)

    async def _publish(
        self, derived: Iterable[tuple[str, Price, str]], effective_from: datetime
    ) -> None:
        # Its id is its subject's, so that of several gateways one writes it; and a version whose
        # formula gives another figure changes nothing by itself.
        now = self._clock()
        entries = [
            PriceEntry(
                f"derived/{subject}",
                subject,
                # No figure in a manifest keeps a gateway from starting.
                Price(*(min(each, HIGHEST) for each in (price.prompt, price.completion))),
                effective_from,
                now,
                None,
                note,
            )
            for subject, price, note in derived
        ]
        async with self._storage.write(in_turn=True) as connection:
            known = set((await connection.execute(select(prices.c.subject).distinct())).scalars())
            for entry in entries:
                # Who priced a model by its name before it had a manifest has said what it costs.
                if known.isdisjoint((entry.subject, entry.note)):
                    await connection.execute(insert(prices).values(**_values(entry)))


def _checked_subject(subject: str) -> str:
    subject = subject.strip()
    if not 1 <= len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise InvalidPrice(f"a price is for a digest or a name of 1 to {_MAX_SUBJECT} characters")
    if subject == CHAT_ALIAS:
        raise InvalidPrice(
            f"{CHAT_ALIAS} costs what the model costs that it stands for: price that"
        )
    return subject


def _checked_price(price: Price) -> Price:
    if not all(0 <= each <= HIGHEST for each in (price.prompt, price.completion)):
        raise InvalidPrice(f"a price is whole, from 0 to {HIGHEST} nGAI for 1,000 tokens")
    return price


def _checked_permille(permille: int) -> int:
    if not 0 <= permille <= MILLE:
        raise InvalidPrice(f"batches pay from 0 to {MILLE} thousandths of the price")
    return permille


def _checked_note(note: str) -> str:
    note = note.strip()
    if len(note) > 200 or not (note.isprintable() or not note):
        raise InvalidPrice("a note has at most 200 printable characters")
    return note


def _values(entry: PriceEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "subject": entry.subject,
        "prompt": entry.price.prompt,
        "completion": entry.price.completion,
        "effective_from": entry.effective_from,
        "set_at": entry.set_at,
        "set_by": entry.set_by,
        "note": entry.note,
        "batch_permille": entry.batch_permille,
    }


def _act(entry: PriceEntry, by: Actor) -> Entry:
    details: dict[str, Detail] = {
        "entry": entry.id,
        "prompt": str(entry.price.prompt),
        "completion": str(entry.price.completion),
        "effective_from": entry.effective_from.isoformat(),
        "batch_permille": entry.batch_permille,
    }
    return Entry(Action.PRICE_SET, by, entry.subject, details=details)


def _entry(row: Row[tuple[object, ...]]) -> PriceEntry:
    fields = row._asdict()
    price = Price(NanoGai(fields.pop("prompt")), NanoGai(fields.pop("completion")))
    return PriceEntry(price=price, **fields)


__all__ = [
    "ANY_MODEL",
    "BATCH_PERMILLE",
    "HIGHEST",
    "NOTICE",
    "REFRESH_SECONDS",
    "SOON",
    "Price",
    "PriceEntry",
    "PriceList",
]
