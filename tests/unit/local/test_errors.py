"""Errors of the local network."""

from garage_ai.local import errors


def test_every_code_is_its_own() -> None:
    """No two errors share a code, so that a program can tell them apart."""
    leaves = [getattr(errors, name) for name in errors.__all__]
    assert len({leaf.code for leaf in leaves}) == len(leaves)
