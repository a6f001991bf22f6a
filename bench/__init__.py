"""Measurements: against the engine alone, against peers, and over time. See README.md here."""
