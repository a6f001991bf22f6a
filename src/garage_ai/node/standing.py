"""What a node is to the network: whether it takes work, for whom, and if not, why not. Pure.

Its state, as gateways are told it:

    joining    no engine is ready, or none was yet
    ready      takes work
    dedicated  takes the work of one job alone
    draining   finishes what runs: the owner, the network or the end of the process asked for it
    paused     the owner wants the PC for himself, says he or the guard; a pause outlives restarts
"""

from typing import Literal

from garage_ai.node.dedication import Dedication
from garage_ai.wire.messages import AgentState, Energy, EngineState, Share

Hold = Literal["draining", "paused"]
Drainer = Literal["owner", "network", "renewal", "rotation", "shutdown"]


class Standing:
    """The states of one agent and its engine."""

    def __init__(self, *, paused: bool = False) -> None:
        self.engine: EngineState = "stopped"
        self.engine_reason = ""
        self.paused = paused
        self.share: Share = "all"
        self.energy: Energy | None = None
        self.free_vram = 0
        """Bytes that nobody has on the cards, as last looked at; 0 where none tells."""
        self.dedication = Dedication()
        self.leaves_at: float | None = None
        """When what then still runs will be stopped; None while nothing is planned."""
        self._drains: dict[Drainer, str] = {}
        self._held: tuple[Hold, str] | None = None
        self._served = False

    @property
    def state(self) -> AgentState:
        """What the gateways are told."""
        if self._drains:
            return "draining"
        if self._held is not None:
            return self._held[0]
        if self.paused:
            return "paused"
        if not self._served:
            return "joining"
        return "dedicated" if self.dedication.job else "ready"

    @property
    def takes_work(self) -> bool:
        """Whether nobody wants the node to stand back."""
        return not (self._drains or self._held or self.paused)

    @property
    def engine_told(self) -> EngineState:
        """The engine's state as it is to who has the node: one that is another's is to come."""
        return "loading" if self.dedication.changes and self.engine == "ready" else self.engine

    @property
    def reason(self) -> str:
        """Why the node does not take work, for its owner; empty when it does."""
        if self._drains:
            return next(iter(self._drains.values()))
        if self._held is not None:
            return self._held[1]
        if self.paused:
            return "paused by its owner"
        if self.engine_told == "ready":
            return ""
        if self.engine == "ready":
            return "what runs ends before another engine is made"
        # One that stands still stood so for one of the reasons above, which is over.
        state = "starting" if self.engine == "stopped" else self.engine
        return self.engine_reason or f"the engine is {state}"

    def drain(self, who: Drainer, reason: str) -> None:
        """Take no new work until the same one says otherwise."""
        self._drains[who] = reason

    def undrain(self, who: Drainer) -> None:
        """Take work again, as far as this one is concerned."""
        self._drains.pop(who, None)

    def hold(self, state: Hold, reason: str) -> None:
        """Take no new work, on the guard's word: the one before it is replaced."""
        self._held = (state, reason)

    def unhold(self) -> None:
        """Take work again, as far as the guard is concerned."""
        self._held = self.leaves_at = None


__all__ = ["Drainer", "Hold", "Standing"]
