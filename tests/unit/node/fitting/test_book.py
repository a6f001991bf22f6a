"""What was found out about memory is found again."""

from pathlib import Path

import msgspec
import pytest

from garage_ai.node.fitting.book import FILE, KEPT, Book, Failed, Peak, Subject
from garage_ai.node.fitting.sizes import Failure, Size

SUBJECT = Subject("RTX 3090", "575.1", "llamacpp 0.2", "sha256:" + "a" * 64)
OTHER = msgspec.structs.replace(SUBJECT, driver="580.2")


def peak(amount: int, context: int = 4096, **more: object) -> Peak:
    made = Peak(subject=SUBJECT, context=context, slots=2, peak=amount, at=1.0)
    return msgspec.structs.replace(made, **more)


def test_peaks_are_kept_by_size_and_grow(tmp_path: Path) -> None:
    """The most that was ever held counts, and that a whole context was seen stays known."""
    book = Book(tmp_path)
    book.measured(peak(100))
    book.measured(peak(90, full=True))
    book.measured(peak(101))
    book.measured(peak(50, context=2048))
    again = Book(tmp_path)
    assert again.peaks_of(SUBJECT) == {
        Size(2048, 2): peak(50, context=2048),
        Size(4096, 2): peak(100, full=True),
    }
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_another_driver_knows_nothing(tmp_path: Path) -> None:
    """A figure holds for the card, driver, engine and model that it was measured with."""
    book = Book(tmp_path)
    book.measured(peak(100))
    assert book.peaks_of(OTHER) == {}
    assert book.knows(SUBJECT.digest)  # type: ignore[arg-type]


def test_a_size_that_failed_has_no_peak(tmp_path: Path) -> None:
    """What was measured of it before was not all it takes; a clock set back does no harm."""
    book = Book(tmp_path)
    book.measured(peak(100))
    book.failed(Failed(subject=SUBJECT, context=4096, slots=2, at=50.0, room=70))
    again = Book(tmp_path)
    assert again.peaks_of(SUBJECT) == {}
    assert again.failures_of(SUBJECT, now=60.0) == [Failure(Size(4096, 2), 70, 10.0)]
    assert again.failures_of(SUBJECT, now=0.0) == [Failure(Size(4096, 2), 70, 0.0)]
    assert again.failures_of(OTHER, now=60.0) == []


def test_a_full_book_can_be_read_again(tmp_path: Path) -> None:
    """The longest names and the most notes stay within what a file of the owner's may be."""
    book = Book(tmp_path)
    long = Subject("d" * 80, "580.65.06", "llamacpp 0.2.30", "sha256:" + "a" * 64)
    for number in range(1, KEPT + 9):
        note = peak(1 << 40, context=number, subject=long, model="m" * 95)
        book.measured(note)
        book.failed(Failed(subject=long, context=number + 5000, slots=2, at=1e9, room=1 << 40))
    assert len(Book(tmp_path).peaks) == KEPT


@pytest.mark.parametrize("text", ["", "[]", '{"peaks": 1}', '{"peaks":[{}]}', "[" * 3000])
def test_a_broken_book_is_begun_anew(tmp_path: Path, text: str) -> None:
    """What it held is found out again."""
    path = tmp_path / FILE
    path.write_text(text)
    path.chmod(0o600)
    book = Book(tmp_path)
    assert book.peaks == ()
    book.measured(peak(1))
    assert Book(tmp_path).peaks == (peak(1),)
