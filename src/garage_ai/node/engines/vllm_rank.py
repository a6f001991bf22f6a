"""One rank of a vLLM that runs on several rigs: what its command line and environment add. Pure.

vLLM's own multi-node mode: each rig runs the same `vllm serve` with its number, all but the first
without an API (`--headless`), and they find each other at the first one's address. Ray, which vLLM
offers for the same, would start ranks that are no agent's (docs/decisions/0047).
"""

from dataclasses import dataclass
from typing import Final

MASTER_PORT: Final = 29_500
"""Where the ranks meet, at the first one's address in the group's own network."""


@dataclass(frozen=True, slots=True)
class Rank:
    """`number` of `nodes`, rig by rig; `master` is the first one's address.

    `address` and `interface` are this rig's in the group's own network.
    """

    number: int
    nodes: int
    master: str
    address: str
    interface: str

    @property
    def headless(self) -> bool:
        """Whether it answers nobody: the first one does."""
        return self.number > 0

    @property
    def words(self) -> list[str]:
        """What the command line adds."""
        pairs: dict[str, object] = {
            "--distributed-executor-backend": "mp",
            "--nnodes": self.nodes,
            "--node-rank": self.number,
            "--master-addr": self.master,
            "--master-port": MASTER_PORT,
        }
        words = [str(word) for pair in pairs.items() for word in pair]
        return [*words, "--headless"] if self.headless else words

    @property
    def environment(self) -> dict[str, str]:
        """What the environment adds: ranks dial each other through the group's own network.

        Where they listen is not bound by it: PyTorch's meeting point takes any address of the PC,
        and asks nobody who he is. In a container there is but the group's network to be reached by.
        """
        return {
            "VLLM_HOST_IP": self.address,
            "GLOO_SOCKET_IFNAME": self.interface,
            "NCCL_SOCKET_IFNAME": self.interface,
            # Rigs have neither InfiniBand nor a way around the tunnel.
            "NCCL_IB_DISABLE": "1",
        }


__all__ = ["MASTER_PORT", "Rank"]
