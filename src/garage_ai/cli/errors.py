"""What ends a command, and with which exit code.

CliError                exit  code
├── Failed              1     failed         it was tried and did not work
│   ├── NotThere        1     not_there      the gateway has nothing of that name
│   └── Unavailable     1     unavailable    the gateway cannot do it now
├── Misused             2     usage          options that do not go together
├── Unreachable         3     unreachable    no gateway there
└── Refused             4     refused        the key is missing, wrong or not enough

130 is for Ctrl-C. The command line's own complaints about options end with 2 as well.
"""

from typing import Final

INTERRUPTED: Final = 130


class CliError(Exception):
    """One sentence of what is wrong and, in `advice`, what to do next.

    `lines` are shown between the two: the last words of a log.
    """

    exit_code = 1
    code = "cli_error"

    def __init__(self, message: str, advice: str = "", lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.advice, self.lines = message, advice, lines


class Failed(CliError):
    code = "failed"


class NotThere(Failed):
    code = "not_there"


class Unavailable(Failed):
    code = "unavailable"


class Misused(CliError):
    exit_code = 2
    code = "usage"


class Unreachable(CliError):
    exit_code = 3
    code = "unreachable"


class Refused(CliError):
    exit_code = 4
    code = "refused"


__all__ = [
    "INTERRUPTED",
    "CliError",
    "Failed",
    "Misused",
    "NotThere",
    "Refused",
    "Unavailable",
    "Unreachable",
]
