"""Which names stand for which models, and who may use them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from garage_ai.catalog import CHAT_ALIAS
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelServed

Admission = Literal["admitted", "pending", "unclaimed", "refused"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the catalogue: its name, digest and rank among chat models (higher is better)."""

    name: str
    digest: Digest
    kind: str
    context: int
    rank: int


class Names:
    """The catalogue's names and the claims of members to names of their own."""

    def __init__(self, catalogue: Iterable[KnownModel]) -> None:
        self._claims: dict[tuple[str, str], tuple[Digest, Admission]] = {}
        """By name and member: what is one's own to serve is nobody else's."""
        self._expected: frozenset[str] = frozenset()
        self._by_digest: dict[Digest, KnownModel] = {}
        self._by_name: dict[str, KnownModel] = {}
        self.catalogue_is(catalogue)

    def catalogue_is(self, catalogue: Iterable[KnownModel]) -> None:
        """Know another catalogue; claims to names that it took or gave back are decided anew."""
        before = self._by_name.keys()
        self._by_digest = {model.digest: model for model in catalogue}
        self._by_name = {model.name: model for model in self._by_digest.values()}
        moved = before ^ self._by_name.keys()
        self._claims = {key: how for key, how in self._claims.items() if key[0] not in moved}

    def admission(self, served: ModelServed, member: str) -> Admission:
        """Judge a model that a member's node offers.

        A catalogue model must bear its own name; any other name must be claimed, and approved by an
        administrator when the catalogue or another member has it.
        """
        known = self._by_digest.get(Digest(served.digest))
        if known is not None and not served.external:
            return "admitted" if known.name == served.name else "refused"
        if served.name == CHAT_ALIAS:
            return "refused"
        claim = self._claims.get((served.name, member))
        return claim[1] if claim is not None and claim[0] == served.digest else "unclaimed"

    def settle(self, name: str, member: str, digest: Digest, admission: Admission) -> None:
        """Note how a member's claim was decided."""
        self._claims[name, member] = digest, admission

    def expect(self, names: Iterable[str]) -> None:
        """Know names that were claimed before this gateway began, until their nodes are heard."""
        self._expected = frozenset(names)

    def is_known(self, name: str) -> bool:
        """Tell whether the name stands for a model, served now or not."""
        if name in self._by_name or name in self._expected or name == CHAT_ALIAS:
            return True
        return ("admitted", name) in ((how, own) for (own, _), (_, how) in self._claims.items())

    def digest(self, name: str) -> Digest | None:
        """Name the catalogue's manifest of that name."""
        known = self._by_name.get(name)
        return None if known is None else known.digest

    def context(self, name: str) -> int | None:
        """Tell the longest context, in tokens, of the catalogue's model of that name."""
        known = self._by_name.get(name)
        return None if known is None else known.context

    def in_catalogue(self, name: str) -> bool:
        """Tell whether the catalogue has the name."""
        return name in self._by_name or name == CHAT_ALIAS

    def best_chat(self, served: Mapping[str, int]) -> str | None:
        """Choose what `garage-chat` stands for among served chat models (name → slots).

        The catalogue's rank decides, then the slots, then the name.
        """
        return max(served, key=lambda name: (self._rank(name), served[name], name), default=None)

    def _rank(self, name: str) -> int:
        known = self._by_name.get(name)
        return known.rank if known is not None else -1
