"""What an agent makes of a link that does not come up."""

from garage_ai.node.trouble import (
    AGAIN_SECONDS,
    AWAY_SECONDS,
    MOST_SECONDS,
    REFUSED_SECONDS,
    REVOKED_SECONDS,
    Trouble,
)
from garage_ai.wire.link_errors import CredentialsExpired, CredentialsRevoked, Refused, Unreachable


def trouble_that_draws(number: float) -> Trouble:
    return Trouble(lambda: number)


def test_waits_while_all_is_well() -> None:
    """Without an error there is nothing to do."""
    assert trouble_that_draws(0.0).action(1000.0) == "wait"


def test_asks_where_the_network_is_when_nobody_answers() -> None:
    """After a while, and then only now and then."""
    trouble = trouble_that_draws(0.5)
    trouble.connected()
    trouble.failed(Unreachable(""), 0.0)
    first = sum(AWAY_SECONDS) / 2
    assert trouble.action(first - 0.1) == "wait"
    assert trouble.action(first) == "ask"
    trouble.asked(first)
    assert trouble.action(first + AGAIN_SECONDS - 0.1) == "wait"
    assert trouble.action(first + AGAIN_SECONDS) == "ask"


def test_nodes_that_lose_the_link_together_do_not_ask_together() -> None:
    """Else a pause of NATS would send thousands to the gateway in one second, and each 30 after."""
    soon, late = trouble_that_draws(0.0), trouble_that_draws(0.99)
    for trouble in (soon, late):
        trouble.connected()
        trouble.failed(Unreachable(""), 0.0)
    assert soon.action(AWAY_SECONDS[0]) == "ask"
    assert late.action(AWAY_SECONDS[1] - 1.0) == "wait"
    assert late.action(AWAY_SECONDS[1]) == "ask"
    for trouble in (soon, late):
        trouble.asked(60.0)
    assert soon.action(60.0 + 0.5 * AGAIN_SECONDS) == "ask"
    assert late.action(60.0 + 1.48 * AGAIN_SECONDS) == "wait"


def test_a_node_that_has_just_begun_asks_soon() -> None:
    """Its owner may have started it to follow a network that moved."""
    trouble = trouble_that_draws(0.99)
    trouble.failed(Unreachable(""), 0.0)
    assert trouble.action(AWAY_SECONDS[0] - 0.1) == "wait"
    assert trouble.action(AWAY_SECONDS[0]) == "ask"


def test_asks_less_and_less_while_nobody_answers() -> None:
    """Though the gateway says each time where the network is; a refusal is asked about soon."""
    trouble = trouble_that_draws(0.5)
    now = 0.0
    trouble.asked(now)
    for wait in (2 * AGAIN_SECONDS, 4 * AGAIN_SECONDS, MOST_SECONDS, MOST_SECONDS):
        trouble.asked(now)
        trouble.helped()
        trouble.failed(Unreachable(""), now)
        now += wait
        assert trouble.action(now - 0.1) == "wait"
        assert trouble.action(now) == "ask"
    trouble.asked(now)
    trouble.failed(Refused(""), now)
    assert trouble.action(now + AGAIN_SECONDS) == "ask"
    trouble.connected()
    trouble.asked(now)
    trouble.failed(Unreachable(""), now - 100.0)
    assert trouble.action(now + AGAIN_SECONDS) == "ask"


def test_asks_soon_when_it_is_refused() -> None:
    """A JWT that has ended is not a server that has just started."""
    for error in (Refused(""), CredentialsExpired("")):
        trouble = trouble_that_draws(0.0)
        trouble.failed(error, 0.0)
        assert trouble.action(REFUSED_SECONDS - 0.1) == "wait"
        assert trouble.action(REFUSED_SECONDS) == "ask"


def test_gives_up_only_when_revoked_and_nobody_denies_it() -> None:
    """A plain refusal is tried for ever; a revocation is asked about at once, then believed."""
    refused, revoked = trouble_that_draws(0.5), trouble_that_draws(0.5)
    refused.failed(Refused(""), 0.0)
    revoked.failed(CredentialsRevoked(""), 0.0)
    assert revoked.action(0.0) == "ask"
    revoked.asked(0.0)
    assert revoked.action(REVOKED_SECONDS - 1.0) == "wait"
    assert revoked.action(REVOKED_SECONDS + 0.1) == "give_up"
    assert refused.action(REVOKED_SECONDS + 0.1) == "ask"


def test_forgets_when_the_link_is_up() -> None:
    """A new trouble has a story of its own."""
    trouble = trouble_that_draws(0.0)
    trouble.failed(CredentialsRevoked(""), 0.0)
    trouble.connected()
    assert trouble.action(1000.0) == "wait"
