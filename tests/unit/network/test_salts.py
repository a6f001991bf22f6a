"""Salts of members in engines' caches."""

from garage_ai.network.salts import DAY_SECONDS, Salts
from garage_ai.wire.ids import NodeId

KEY = bytes(range(32))
HERE, THERE = NodeId("nabcdefghijkl"), NodeId("nabcdefghijkm")
NOON = 20_000 * DAY_SECONDS + DAY_SECONDS / 2


def test_one_member_has_one_salt_on_a_node_for_a_day() -> None:
    """At every gateway that has the key."""
    salt = Salts(KEY).salt("mbr_1", HERE, NOON)
    assert Salts(KEY).salt("mbr_1", HERE, NOON + 60) == salt
    assert len(salt) == 24
    # vLLM refuses salts with these in them.
    assert not set(salt) & set("@/\\\0")


def test_salts_differ_by_member_node_day_and_network() -> None:
    """Nobody shares a cache, and owners cannot put together what they saw."""
    salts = Salts(KEY)
    made = [
        salts.salt("mbr_1", HERE, NOON),
        salts.salt("mbr_2", HERE, NOON),
        salts.salt("mbr_1", THERE, NOON),
        salts.salt("mbr_1", HERE, NOON + DAY_SECONDS),
        Salts(KEY[::-1]).salt("mbr_1", HERE, NOON),
    ]
    assert len(set(made)) == len(made)


def test_a_salt_names_nobody() -> None:
    """Neither member nor node can be read from it."""
    salt = Salts(KEY).salt("mbr_1", HERE, NOON)
    assert "mbr" not in salt
    assert HERE not in salt
