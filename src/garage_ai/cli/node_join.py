"""`gai node join`: from an address and a token to a node that serves, here or in the background."""

import socket

from garage_ai.cli import output
from garage_ai.cli.node_run import configure_logs, guarded, run_async, stopped
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.cli.node_service import serve_in_background, service_of, wants_service
from garage_ai.cli.node_words import say
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.join import join
from garage_ai.node.serve import prepare, serve


def join_and_serve(
    url: str, token: str, folder: NodeFolder, choice: Choice, name: str, *, service: bool | None
) -> None:
    """Enrol and serve; typed again, it goes on where it was cut short. Raises: CliError."""
    configure_logs()
    screen = NodeScreen()
    output.write(say("title", folder=folder.path))
    known_as = name or socket.gethostname() or "node"
    unit = service_of(folder)
    if service:
        guarded(unit.need_manager)
    ran = run_async(unit.stop())
    if ran:
        screen.done(say("service.stopped", unit=unit.unit))
    try:
        run_async(join(url, token, folder, choice=choice, name=known_as, tell=screen.tell))
        in_background = wants_service(folder, service)
        if in_background:
            run_async(prepare(folder, screen.tell))
    except BaseException as error:
        screen.end()
        if ran:
            run_async(unit.start())
        if isinstance(error, KeyboardInterrupt):
            output.remark(say("join.interrupted"), style=None)
        raise
    screen.end()
    if in_background:
        serve_in_background(folder)
        return
    if service is False and run_async(unit.remove()):
        screen.done(say("service.removed", unit=unit.unit))
    try:
        again = run_async(serve(folder, None, None, screen.tell))
    finally:
        screen.end()
    stopped(folder, again=again)


__all__ = ["join_and_serve"]
