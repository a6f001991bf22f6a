"""Serving is tested over the network's own parts."""

from tests.integration.network.conftest import books, make_node, network

__all__ = ["books", "make_node", "network"]
