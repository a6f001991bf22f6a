"""llama.cpp's own server in a process of its own.

Run it as `python -m garage_ai.node.engines.llamacpp_server`. It says `listening ADDRESS` on stdout
once it answers. SIGTERM ends it at once, also while the model loads and as PID 1. With
`--parent PID` it dies when that process does; in a container, where there is no such process,
`--while-stdin-is-open` ends it with whoever holds the other end of its stdin. xllamacpp is imported
here and nowhere else: a crash of it takes this process along and no other.

It imports nothing of ours: a container's image holds this file and xllamacpp, no more.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import xllamacpp

_PR_SET_PDEATHSIG: Final = 1
_ERRORS: Final = 1
"""llama.cpp's verbosity: what breaks. Its warnings quote requests, and no prompt may be logged."""

_PROMPT_CACHE_MIB: Final = 256
"""Memory for prompts of conversations that have left their slot; its own default is 8 GiB."""

_POOLINGS: Final = ("mean", "cls", "last")
_SPARE_HTTP_THREADS: Final = 4
_FOR_EVER: Final = threading.Event()


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="llamacpp_server", description="Serve one GGUF model.")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--alias", help="what answers call the model")
    parser.add_argument("--socket", type=Path, help="listen on this unix socket")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=8, help="requests at a time")
    parser.add_argument("--context", type=int, default=4096, help="tokens for each slot")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--embedding", action="store_true", help="embed instead of answering")
    parser.add_argument(
        "--pooling", choices=_POOLINGS, help="how to embed, where the file does not say"
    )
    parser.add_argument("--parent", type=int, help="die with this process")
    parser.add_argument("--while-stdin-is-open", action="store_true", help="end at its end")
    parser.add_argument("--shared-socket", action="store_true", help="the folder alone guards it")
    return parser.parse_args(argv)


def _end_on_signals(*, with_stdin: bool) -> None:
    """End this process on SIGTERM or SIGINT, also while llama.cpp keeps Python from running.

    The kernel's own default does that best, but has none for PID 1 (in a container): there a small
    parent waits for the signal, and its end is the end of the container. The same parent watches
    stdin, as this process may not get to it for long.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() != 1 and not with_stdin:
        return
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    parent = os.getpid()
    child = os.fork()
    if child != 0:
        _wait_for(child, wanted, with_stdin=with_stdin)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
    _die_with(parent)


def _wait_for(child: int, wanted: set[signal.Signals], *, with_stdin: bool) -> NoReturn:
    """End with the child's status, or on the first of a signal and the end of stdin."""
    if with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if signal.sigwait(wanted) != signal.SIGCHLD:
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


def _end_with_stdin() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # The parent may have died before the bond was made; then somebody else is our parent by now.
    if os.getppid() != parent:
        os._exit(1)


def _listen_at(options: argparse.Namespace) -> tuple[str, int]:
    """Give host and port as llama.cpp wants them; a name that ends in `.sock` is a unix socket."""
    if options.socket is None:
        return str(options.host), int(options.port)
    # A socket's address has room for 107 bytes, so it is named from inside its folder.
    os.chdir(options.socket.parent)
    Path(options.socket.name).unlink(missing_ok=True)
    # In a container this is another user than the agent, for whom the socket is.
    os.umask(0o111 if options.shared_socket else 0o177)
    return f"./{options.socket.name}", 0


def _params(options: argparse.Namespace) -> "xllamacpp.CommonParams":
    import xllamacpp

    model = options.model.absolute()
    host, port = _listen_at(options)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {options.alias or model.stem}
    params.hostnames = [host]
    params.port = port
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.n_threads_http = options.slots + _SPARE_HTTP_THREADS
    params.embedding = options.embedding
    if options.pooling:
        kind = f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"
        params.pooling_type = xllamacpp.llama_pooling_type[kind]
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.endpoint_metrics = True
    params.ui = False
    params.verbosity = _ERRORS
    return params


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    options = _options(argv)
    if options.parent is not None:
        _die_with(options.parent)
    _end_on_signals(with_stdin=options.while_stdin_is_open)
    try:
        import xllamacpp

        server = xllamacpp.Server(_params(options))
    except Exception as error:
        sys.stderr.write(f"cannot serve {options.model}: {error}\n")
        return 1
    sys.stdout.write(f"listening {options.socket or server.listening_address}\n")
    sys.stdout.flush()
    _FOR_EVER.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
