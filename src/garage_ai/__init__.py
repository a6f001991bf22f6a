"""Garage AI: a community-owned AI network made of gaming PCs."""

__version__ = "0.1.0"
