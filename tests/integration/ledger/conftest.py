"""The ledger, on each database."""

import pytest

from garage_ai.ledger import Ledger
from garage_ai.storage import Storage


@pytest.fixture
def ledger(storage: Storage) -> Ledger:
    return Ledger(storage)
