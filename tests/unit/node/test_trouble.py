"""What an agent makes of a link that does not come up."""

from garage_ai.node.trouble import (
    AGAIN_SECONDS,
    AWAY_SECONDS,
    REFUSED_SECONDS,
    REVOKED_SECONDS,
    Trouble,
)
from garage_ai.wire.link_errors import CredentialsExpired, CredentialsRevoked, Refused, Unreachable


def test_waits_while_all_is_well() -> None:
    """Without an error there is nothing to do."""
    assert Trouble().action(1000.0) == "wait"


def test_asks_where_the_network_is_when_nobody_answers() -> None:
    """After a while, and then only now and then."""
    trouble = Trouble()
    trouble.failed(Unreachable(""), 0.0)
    assert trouble.action(AWAY_SECONDS - 0.1) == "wait"
    assert trouble.action(AWAY_SECONDS) == "ask"
    trouble.asked(AWAY_SECONDS)
    assert trouble.action(AWAY_SECONDS + AGAIN_SECONDS - 0.1) == "wait"
    assert trouble.action(AWAY_SECONDS + AGAIN_SECONDS) == "ask"


def test_asks_soon_when_it_is_refused() -> None:
    """A JWT that has ended is not a server that has just started."""
    for error in (Refused(""), CredentialsExpired("")):
        trouble = Trouble()
        trouble.failed(error, 0.0)
        assert trouble.action(REFUSED_SECONDS - 0.1) == "wait"
        assert trouble.action(REFUSED_SECONDS) == "ask"


def test_gives_up_only_when_revoked_and_nobody_denies_it() -> None:
    """A plain refusal is tried for ever; a revocation is asked about at once, then believed."""
    refused, revoked = Trouble(), Trouble()
    refused.failed(Refused(""), 0.0)
    revoked.failed(CredentialsRevoked(""), 0.0)
    assert revoked.action(0.0) == "ask"
    revoked.asked(0.0)
    assert revoked.action(REVOKED_SECONDS - 1.0) == "wait"
    assert revoked.action(REVOKED_SECONDS + 0.1) == "give_up"
    assert refused.action(REVOKED_SECONDS + 0.1) == "ask"


def test_forgets_when_the_link_is_up() -> None:
    """A new trouble has a story of its own."""
    trouble = Trouble()
    trouble.failed(CredentialsRevoked(""), 0.0)
    trouble.connected()
    assert trouble.action(1000.0) == "wait"
