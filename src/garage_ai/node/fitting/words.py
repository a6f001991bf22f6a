"""Why an engine is smaller than planned or waits, for its owner, in English and Swedish. Pure."""

from garage_ai.node.fitting.sizes import Ruled, Size
from garage_ai.node.guard.quantities import shown_size
from garage_ai.node.guard.words import Sentence


def smaller(planned: Size, size: Size, why: Ruled) -> Sentence:
    """Say that and why an engine takes on less than planned."""
    because = _because(why)
    return Sentence(
        f"{_english(size)} instead of {_english(planned)}, because {because.en}",
        f"{_swedish(size)} i stället för {_swedish(planned)}, eftersom {because.sv}",
    )


def other_form(planned: str, name: str) -> Sentence:
    """Say that a smaller form of the model is served."""
    return Sentence(
        f"{name} instead of {planned}, because memory did not suffice for it at any size",
        f"{name} i stället för {planned}, eftersom minnet inte räckte till den i någon storlek",
    )


def refusal(model: str, why: Ruled) -> Sentence:
    """Say that no size of a model fits."""
    because = _because(why)
    return Sentence(
        f"{model} does not fit in this PC's memory at any size: {because.en}. "
        "Free memory, or choose a smaller model: gai models --fits",
        f"{model} får inte plats i datorns minne i någon storlek: {because.sv}. "
        "Frigör minne eller välj en mindre modell: gai models --fits",
    )


def lacking(needed: int, room: int) -> str:
    """Say what an agent waits for that cannot start beside what runs now; both in bytes."""
    return f"waiting for memory: {shown_size(needed)} needed, {shown_size(room)} free"


def _because(why: Ruled) -> Sentence:
    if why.needed is None or why.room is None:
        return Sentence(
            f"it ran out of memory with {_english(why.size)}",
            f"minnet tog slut med {_swedish(why.size)}",
        )
    needed, room = shown_size(why.needed), shown_size(why.room)
    return Sentence(
        f"{_english(why.size)} took {needed} when measured here, and {room} are free",
        f"{_swedish(why.size)} tog {needed} när det mättes här, och {room} är ledigt",
    )


def _english(size: Size) -> str:
    return f"{size.slots} requests of {size.context} tokens"


def _swedish(size: Size) -> str:
    return f"{size.slots} förfrågningar om {size.context} token"


__all__ = ["lacking", "other_form", "refusal", "smaller"]
