"""What lies where in the data folder of a local network."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """The parts of a data folder."""

    data: Path

    @property
    def run(self) -> Path:
        """Locks and records of what runs."""
        return self.data / "run"

    @property
    def logs(self) -> Path:
        """What the children say."""
        return self.data / "logs"

    @property
    def nats(self) -> Path:
        """Operator keys, the server's configuration, the accounts it knows."""
        return self.data / "nats"

    @property
    def tls(self) -> Path:
        """The network's own CA and certificate."""
        return self.data / "tls"

    @property
    def node(self) -> Path:
        """The identity and state of the network's own node."""
        return self.data / "local-node"

    @property
    def up_record(self) -> Path:
        """Who runs `gai up` here, and where it answers."""
        return self.run / "up.json"

    @property
    def lock(self) -> Path:
        """Held by the `gai up` that runs here."""
        return self.run / "up.lock"

    @property
    def admin_key(self) -> Path:
        """The one key that is kept in plain text."""
        return self.data / "admin.key"


__all__ = ["Folders"]
