"""How often somebody may come."""

from garage_ai.gateway.quota import MAX_NAMES, Quota


def test_it_begins_anew() -> None:
    """After its window, and for each name by itself."""
    now = [0.0]
    quota = Quota(3, 600.0, lambda: now[0])
    assert [quota.take("one") for _ in range(3)] == [None] * 3
    now[0] = 100.0
    assert quota.take("one") == 500.0
    assert quota.take("two") is None
    now[0] = 600.0
    assert quota.take("one") is None


def test_names_are_bounded() -> None:
    """However many come, so many are remembered."""
    quota = Quota(1, 60.0, lambda: 0.0)
    for number in range(MAX_NAMES + 100):
        quota.take(str(number))
    assert len(quota) == MAX_NAMES
