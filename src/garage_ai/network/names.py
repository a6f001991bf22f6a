"""Which names stand for which models, and who may use them. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

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


@dataclass(frozen=True, slots=True)
class KnownClaim:
    """A member's claim to a name, as the books have it; an administrator admitted it, or nobody."""

    name: str
    member: str
    digest: Digest
    admitted: bool
    by_admin: bool


Claims = Mapping[tuple[str, str], tuple[Digest, Admission]]
"""How claims were decided, by name and member."""


class Names:
    """The catalogue's names and the claims of members to names of their own."""

    def __init__(self, catalogue: Iterable[KnownModel]) -> None:
        self._claims: dict[tuple[str, str], tuple[Digest, Admission]] = {}
        """By name and member: what is one's own to serve is nobody else's."""
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

    def bounded(self, served: ModelServed) -> ModelServed:
        """Give what a node says that it serves, with no longer a context than the model has.

        A request may cost as much as the longest one: a node's word must not make it what nobody
        can pay.
        """
        known = self._by_digest.get(Digest(served.digest))
        if known is None or not known.context or served.context <= known.context:
            return served
        return msgspec.structs.replace(served, context=known.context)

    def settle(self, name: str, member: str, digest: Digest, admission: Admission) -> None:
        """Note how a member's claim was decided."""
        self._claims[name, member] = digest, admission

    @property
    def claims(self) -> Claims:
        """How claims are decided just now."""
        return self._claims.copy()

    def claims_are(self, claims: Iterable[KnownClaim], before: Claims) -> Collection[str]:
        """Know what the books say of claims, and give the members for whom that is another word.

        What was decided here since `before`, when the books were asked, is not judged.
        """
        said = {(each.name, each.member): each for each in claims if not self._is_lost(each)}
        changed = set[str]()
        for key in before.keys() | said.keys():
            own, theirs = self._claims.get(key), said.get(key)
            if own is not before.get(key):
                continue
            decided = None if theirs is None else _admission(theirs)
            if decided == (None if own is None else own[1]):
                continue
            changed.add(key[1])
            if theirs is None or decided is None:
                del self._claims[key]
            else:
                # The member's other node may have claimed it last, with other files.
                self._claims[key] = theirs.digest if own is None else own[0], decided
        return changed

    def is_known(self, name: str) -> bool:
        """Tell whether the name stands for a model, served now or not."""
        if self.in_catalogue(name):
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

    def _is_lost(self, claim: KnownClaim) -> bool:
        """Tell whether a name that nobody had is the catalogue's by now, so it is claimed anew."""
        return claim.admitted and not claim.by_admin and self.in_catalogue(claim.name)

    def _rank(self, name: str) -> int:
        known = self._by_name.get(name)
        return known.rank if known is not None else -1


def _admission(claim: KnownClaim) -> Admission:
    return "admitted" if claim.admitted else "pending"
