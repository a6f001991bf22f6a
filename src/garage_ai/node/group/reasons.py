"""Why a rig's gang is not at work, by stable codes: in English, as rigs, logs and gateways hear it.

Owners read it in their language: `cli/gang_words.py` has the same codes in Swedish.
"""

from typing import Final, Literal

from garage_ai.node.group.messages import MAX_WORDS

Reason = Literal[
    "paused",
    "not_lent",
    "looking",
    "rig_lost",
    "rank_ended",
    "rank_late",
    "rank_of",
    "agent_failed",
    "led_elsewhere",
    "other_leads",
    "later_gang",
    "engaged",
    "other_model",
    "grouped",
    "of_group",
    "apart",
    "reserving",
    "reserved",
    "starting",
    "working",
    "serving",
    "ending",
    "no_tunnel",
    "rigs_missing",
    "no_card",
    "no_form",
    "card_too_old",
    "unequal_cards",
    "heads_indivisible",
    "experts_too_narrow",
    "too_many_stages",
    "processors_in_a_row",
    "no_such_set",
    "link_unmeasured",
    "trip_too_long",
    "link_too_narrow",
    "memory_short",
]

REASONS: Final[dict[Reason, str]] = {
    # A gang that ends, or does not begin.
    "paused": "its owner has taken the PC back",
    "not_lent": "its owner does not lend now",
    "looking": "it is looking at what its cards hold",
    "rig_lost": "{node} was lost",
    "rank_ended": "its part has ended",
    "rank_late": "a rank did not answer in time",
    "rank_of": "{node}: {words}",
    "agent_failed": "the agent failed",
    "led_elsewhere": "another rig leads",
    "other_leads": "waiting for {node}, which leads",
    "later_gang": "there was a later gang",
    "engaged": "it is part of another gang",
    "other_model": "it holds another model",
    # Where a gang stands.
    "grouped": "grouped: it computes for {node}, which answers for the group",
    "of_group": "group {node}: {words}",
    "apart": "looking for the other rigs",
    "reserving": "asking the other rigs",
    "reserved": "asked to take part",
    "starting": "starting together",
    "working": "taking part",
    "serving": "serving together",
    "ending": "letting go of the cards",
    # Why no gang can be made of those who are there.
    "no_tunnel": (
        "the group's own network is not set up on {words}: there, as root: gai node doctor "
        "--fix --data-dir FOLDER"
    ),
    "rigs_missing": "{n} rigs are needed, and {m} are there",
    "no_card": "the group has no card",
    "no_form": "the model comes in no form that the engine of groups runs",
    "card_too_old": "a card of {node} is too old for {words}",
    "unequal_cards": "the cards of {words} are not equal",
    "heads_indivisible": "{n} heads cannot be divided among {m} cards",
    "experts_too_narrow": "a width of {n} cannot be cut into {m} parts of whole blocks of {k}",
    "too_many_stages": "{n} stages are more than the model's {m} layers",
    "processors_in_a_row": "vLLM has no pipeline on processors, and this needs {n} stages",
    "no_such_set": "no set of {k} cards can be had of {n} in {m} rigs, equally many from each",
    "link_unmeasured": "{node} and {other} have not measured what lies between them",
    "trip_too_long": "{node} to {other} and back takes {n} ms, more than {m}",
    "link_too_narrow": "{node} and {other} have {n} Gbit/s between them, less than {m}",
    "memory_short": "{n} cards are {m} GiB short each of what the model needs",
}
"""`{node}` and `{other}` stand for one word, `{n}`, `{m}` and `{k}` for numbers."""


def say(reason: Reason, /, **values: object) -> str:
    """Say a reason, cut to what rigs may tell each other. Raises: KeyError for a missing value."""
    return bounded(REASONS[reason].format(**values))


def bounded(words: str) -> str:
    """Cut words of an engine's or an error's to what rigs may tell each other."""
    return words if len(words) <= MAX_WORDS else words[: MAX_WORDS - 1] + "…"


__all__ = ["REASONS", "Reason", "bounded", "say"]
