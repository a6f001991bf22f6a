"""What `gai image` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "Which images nodes may make their engines' containers from.",
        "Vilka avbilder noder får göra motorernas containrar av.",
    ),
    "help.approve": (
        "Let nodes serve from an image.",
        "Låt noder arbeta från en avbild.",
    ),
    "help.revoke": (
        "Give nodes no work that run an image, or one that was built on it.",
        "Ge inget arbete åt noder som kör en avbild, eller en som byggts på den.",
    ),
    "help.list": (
        "List images: what nodes run and what was decided; what waits comes first.",
        "Lista avbilder: vad noder kör och vad som bestämts; det som väntar kommer först.",
    ),
    "argument.digest": (
        "The image, sha256:…; of one built on nodes also what it was built of, or its base.",
        "Avbilden, sha256:…; för en som byggts på noder även vad den byggts av, eller dess bas.",
    ),
    "option.note": (
        "What it is, for other administrators.",
        "Vad den är, för andra administratörer.",
    ),
    "none": (
        "No node tells of an image, and none was decided about.",
        "Ingen nod berättar om en avbild, och ingen är bestämd om.",
    ),
    "decided.approved": (
        "{digest} is approved; {nodes} nodes run it now",
        "{digest} är godkänd; {nodes} noder kör den nu",
    ),
    "decided.revoked": (
        "{digest} is revoked; {nodes} nodes run it now and get no more work",
        "{digest} är återkallad; {nodes} noder kör den nu och får inget mer arbete",
    ),
    "state.built": ("built on the node", "byggd på noden"),
    "state.approved": ("approved", "godkänd"),
    "state.pending": ("WAITS for approval", "VÄNTAR på godkännande"),
    "state.revoked": ("revoked", "återkallad"),
    "table.digest": ("image", "avbild"),
    "table.state": ("state", "läge"),
    "table.note": ("note or base", "anteckning eller bas"),
    "table.nodes": ("nodes", "noder"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
