"""When a scarce balance that lies in a lease unused is given back, for other gateways to find."""

import asyncio
from collections.abc import Callable
from typing import Final

from garage_ai.ledger.allowance import Allowance

SPARE_SECONDS: Final = 0.25
"""How long a lease keeps of a scarce balance what no request needs; several end together."""


class Spares:
    """Leases that will be made smaller soon; `give_back` is told of each once."""

    def __init__(self, give_back: Callable[[Allowance], None]) -> None:
        self._give_back = give_back
        self._noted: list[Allowance] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, allowance: Allowance) -> None:
        """Take a lease that holds more than others could find."""
        if allowance not in self._noted:
            self._noted.append(allowance)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SPARE_SECONDS, self._give_all)

    def close(self) -> None:
        """Give nothing back any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _give_all(self) -> None:
        noted, self._noted, self._timer = self._noted, [], None
        for allowance in noted:
            self._give_back(allowance)


__all__ = ["SPARE_SECONDS", "Spares"]
