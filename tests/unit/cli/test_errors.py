"""Exit codes."""

from garage_ai.cli import errors


def test_exit_codes_are_as_documented() -> None:
    """Scripts build on them."""
    codes = {
        errors.Failed: (1, "failed"),
        errors.Misused: (2, "usage"),
        errors.Unreachable: (3, "unreachable"),
        errors.Refused: (4, "refused"),
    }
    assert {kind: (kind.exit_code, kind.code) for kind in codes} == codes
