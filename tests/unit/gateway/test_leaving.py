"""When a gateway that is about to go closes its port."""

from garage_ai.gateway.leaving import CHOOSES_SECONDS, LEAVING_SECONDS, Leaving


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_gateway_that_stays_has_nothing_to_end() -> None:
    """Asked or not, at work or not."""
    clock = Clock()
    leaving = Leaving(clock)
    leaving.asked()
    clock.now += 10 * LEAVING_SECONDS
    assert not leaving.has_begun
    assert leaving.seconds == 0.0
    assert not leaving.is_over(working=False)


def test_nobody_is_waited_for_who_does_not_ask() -> None:
    """Neither where none ever asked, nor one who has not for a minute."""
    clock = Clock()
    leaving, forgotten = Leaving(clock), Leaving(clock)
    forgotten.asked()
    clock.now += CHOOSES_SECONDS
    for each in (leaving, forgotten):
        each.begin()
        assert each.has_begun
        assert each.is_over(working=False)


def test_who_asks_has_ten_seconds_to_hear_of_it() -> None:
    """And no more, however often it was told to go."""
    clock = Clock()
    leaving = Leaving(clock)
    leaving.asked()
    clock.now += CHOOSES_SECONDS / 2
    leaving.begin()
    clock.now += LEAVING_SECONDS - 1
    leaving.begin()
    assert not leaving.is_over(working=False)
    clock.now += 1
    assert leaving.seconds == LEAVING_SECONDS
    assert leaving.is_over(working=False)


def test_work_is_a_reason_to_wait_for_as_long() -> None:
    """Its port stays open while requests run, since the process stays too."""
    clock = Clock()
    leaving = Leaving(clock)
    leaving.begin()
    assert not leaving.is_over(working=True)
    assert leaving.is_over(working=False)
    clock.now += LEAVING_SECONDS
    assert leaving.is_over(working=True)
