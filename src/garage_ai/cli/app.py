"""The `gai` command: its parts, and how it ends.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 no gateway there, 4 refused, 130 stopped by Ctrl-C.
"""

import contextlib
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from garage_ai import __version__
from garage_ai.cli import (
    audit,
    batch,
    db,
    group,
    image,
    key,
    ledger,
    litellm,
    me,
    member,
    models,
    node,
    output,
    price,
    usage,
)
from garage_ai.cli.chat import chat
from garage_ai.cli.errors import INTERRUPTED, CliError, Failed
from garage_ai.cli.gateway import gateway
from garage_ai.cli.handover import hand_over
from garage_ai.cli.reason_words import reason_in_words
from garage_ai.cli.up import up
from garage_ai.cli.words import say


def _version(asked: bool) -> None:
    if asked:
        output.write(f"gai {__version__}")
        raise typer.Exit


def _debug(asked: bool) -> None:
    if asked:
        os.environ["GAI_DEBUG"] = "1"


def _gai(
    _version_asked: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help=say("help.version")),
    ] = False,
    _debug_asked: Annotated[
        bool, typer.Option("--debug", callback=_debug, is_eager=True, help=say("help.debug"))
    ] = False,
) -> None:
    """Options before any command."""


def make_app() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(
        name="gai",
        help=say("help.gai"),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Typer's own colours ask neither for a terminal nor for NO_COLOR.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_gai)
    app.command("up", help=say("help.up"))(up)
    app.command("gateway", help=say("help.gateway"))(gateway)
    app.add_typer(node.app, name="node", help=say("help.node"))
    app.add_typer(group.app, name="group")
    app.add_typer(key.app, name="key")
    app.add_typer(member.app, name="member")
    app.add_typer(image.app, name="image")
    app.add_typer(db.app, name="db")
    app.add_typer(me.app, name="me")
    app.add_typer(audit.app, name="audit")
    app.add_typer(price.app, name="price")
    app.add_typer(models.app, name="models")
    app.command("chat", help=say("help.chat"))(chat)
    app.add_typer(batch.app, name="batch")
    app.add_typer(usage.app, name="usage")
    app.add_typer(ledger.app, name="ledger")
    app.add_typer(litellm.app, name="litellm")
    return app


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter is no reason to fail.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        hand_over(sys.argv[1:])
        make_app()()
    except CliError as error:
        _debug_trace()
        output.report(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        _debug_trace()
        words = say("error.not_installed", module=error.name)
        output.report(Failed(words, say("error.not_installed.next")))
        sys.exit(Failed.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        # A full disk, a folder that is somebody else's: nothing that we did wrong.
        _debug_trace()
        output.report(Failed(_in_the_way(error)))
        sys.exit(Failed.exit_code)
    except Exception as error:
        _debug_trace()
        words = say("error.unexpected", message=f"{type(error).__name__}: {error}")
        output.report(Failed(words, say("error.unexpected.next")))
        sys.exit(Failed.exit_code)
    finally:
        output.finish()
    sys.exit(0)


def _open_closed() -> None:
    """Put the null device where the caller closed a stream, as with `>&-`: Python has None there,
    and the next file that is opened would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _in_the_way(error: OSError) -> str:
    reason = reason_in_words(error.strerror or str(error))
    if error.filename is None:
        return say("error.plain", message=reason)
    return say("error.no_folder", folder=os.fsdecode(error.filename), reason=reason)


def _debug_trace() -> None:
    if os.environ.get("GAI_DEBUG"):
        traceback.print_exc()


__all__ = ["main", "make_app"]
