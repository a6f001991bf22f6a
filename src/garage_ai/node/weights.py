"""Which fetched models stay on this PC, and what leaves when the owner's room is used up."""

from garage_ai.catalog import DEFAULT_MODEL, Held, ModelStore, Room, digest_of
from garage_ai.node.catalogue import known_models
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.guard.limits import load_limits


def room_for(folder: NodeFolder, choice: Choice) -> Room | None:
    """Give the room for fetched models; None where the owner set no limit. Raises: NotPossible."""
    limits = load_limits(folder.path)
    if limits.disk is None:
        return None
    known = known_models(folder.path)
    names = (*limits.keep, *(choice.models or (DEFAULT_MODEL,)))
    kept = [known.by_name(name) for name in names]
    return Room(limits.disk, frozenset(digest_of(each) for each in kept if each is not None))


async def tidy(folder: NodeFolder) -> list[Held]:
    """Remove what is beyond the owner's room, and give it. Raises: NotEnrolled, CatalogError."""
    room = room_for(folder, folder.load().choice)
    return await ModelStore(folder.path, room=room).tidy()


__all__ = ["room_for", "tidy"]
