"""Run the gateway: `python -m garage_ai.gateway`, or `gai gateway`.

With `--alone`, as `gai up` runs it, nobody is to send requests elsewhere before it goes.
"""

import contextlib
import resource
import sys

import pydantic
import uvloop

from garage_ai.accounts import AccountError
from garage_ai.gateway.listening import StartError
from garage_ai.gateway.logs import configure_logs
from garage_ai.gateway.process import serve
from garage_ai.network.authority_errors import AuthorityError
from garage_ai.settings import GatewaySettings
from garage_ai.storage import StorageError
from garage_ai.wire.secret_files import SecretFileError
from garage_ai.wire.trust import TrustError


def main() -> int:
    """Run until a signal ends it; 1 when it cannot start, 2 when a setting is wrong."""
    try:
        settings = GatewaySettings()
    except pydantic.ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in each["loc"]).upper()
            print(f"gai gateway: GAI_{name}: {each['msg']}", file=sys.stderr)
        return 2
    configure_logs(settings.log_level)
    _allow_many_connections()
    try:
        uvloop.run(serve(settings, alone="--alone" in sys.argv[1:]))
    except (
        StartError,
        StorageError,
        AccountError,
        AuthorityError,
        SecretFileError,
        TrustError,
        OSError,
    ) as error:
        print(f"gai gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one: each client holds one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
