from garage_ai.catalog import Progress
from garage_ai.catalog.progress import Meter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def metered(total: int = 1000) -> tuple[Meter, list[Progress], Clock]:
    seen: list[Progress] = []
    clock = Clock()
    return Meter(seen.append, "f", "fetching", total, clock), seen, clock


def test_reports_are_thinned_out_but_the_last_always_comes() -> None:
    """Many small steps give about ten reports a second and always the end."""
    meter, seen, clock = metered()
    for done in range(1001):
        clock.now = 100.0 + done / 1000
        meter.at(done)
    assert 9 <= len(seen) <= 12
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, 1000, 1000)


def test_speed_is_of_late_and_starts_at_what_was_here_before() -> None:
    """Bytes of an earlier run do not count as speed, and an old pace is forgotten."""
    meter, seen, clock = metered(10_000)
    meter.at(5000)
    clock.now += 1.0
    meter.at(5100)
    assert seen[-1].speed == 100.0
    clock.now += 1.0
    meter.at(5200)
    clock.now += 1.0
    meter.at(6200)
    assert seen[-1].speed == 1000.0


def test_beginning_anew_gives_no_negative_speed() -> None:
    """A restart from zero is not a movement backwards."""
    meter, seen, clock = metered()
    meter.at(500)
    clock.now += 1.0
    meter.at(0)
    clock.now += 1.0
    meter.at(100)
    assert [each.speed for each in seen] == [0.0, 0.0, 100.0]


def test_nobody_listens() -> None:
    """Without a listener nothing happens."""
    Meter(None, "f", "checking", 1).at(1)
