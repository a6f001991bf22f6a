"""The guard: the owner comes first, and what he does with his PC decides whether it serves."""
