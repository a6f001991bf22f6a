"""The owner's pause, as the node's folder keeps it: an end if it has one, and how sudden it is."""

from typing import Annotated, Final

import msgspec


class Pause(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pause; `until` in seconds since 1970, `now` gives up what runs."""

    until: Annotated[float, msgspec.Meta(gt=0)] | None = None
    now: bool = False


_pauses: Final = msgspec.json.Decoder(Pause)


def pause_in(text: str) -> Pause:
    """Read a pause; what cannot be read is one without an end: the owner did pause."""
    try:
        return _pauses.decode(text)
    except msgspec.MsgspecError:
        return Pause()


def pause_text(pause: Pause) -> str:
    """Write a pause."""
    return msgspec.json.encode(pause).decode()


__all__ = ["Pause", "pause_in", "pause_text"]
