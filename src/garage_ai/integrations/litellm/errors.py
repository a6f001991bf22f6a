"""What keeps LiteLLM from running.

LiteLlmError               code
├── LockMissing            litellm_lock_missing      this installation has no list of its packages
├── EnvironmentFailed      litellm_not_installed     its environment cannot be made
└── BadVersion             litellm_bad_version       a version that must not run
"""


class LiteLlmError(Exception):
    """Anything that keeps LiteLLM from running; `lines` are the last words of a log."""

    code = "litellm_error"

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.lines = lines


class LockMissing(LiteLlmError):
    code = "litellm_lock_missing"


class EnvironmentFailed(LiteLlmError):
    code = "litellm_not_installed"


class BadVersion(LiteLlmError):
    code = "litellm_bad_version"


__all__ = ["BadVersion", "EnvironmentFailed", "LiteLlmError", "LockMissing"]
