"""`gai chat`: talk to the network in the terminal."""

import contextlib
import signal
import sys
import time
from collections.abc import Generator, Iterator
from typing import Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.client import Client
from garage_ai.cli.conversation import Answer, Conversation, Reader, Typed, what_was_meant
from garage_ai.cli.errors import CliError, Failed
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.piped import read_piped
from garage_ai.cli.words import say

_MAX_PIPED: Final = 8_000_000
_LOOK_EVERY: Final = 0.2


def chat(
    *,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=say("help.option.model"))
    ] = None,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help=say("help.option.text"))
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help=say("help.option.system"))
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="N", min=1, help=say("help.option.max_tokens")),
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Talk, or ask once with a text or a pipe."""
    asked = client(gateway, api_key, data_dir)
    chosen, question = _meant(asked, model, text)
    if question is None and not sys.stdin.isatty():
        question = read_piped(lambda: sys.stdin.read(_MAX_PIPED)).strip()
        if not question:
            raise Failed(say("chat.no_text"))
    conversation = Conversation(chosen, system, max_tokens)
    if question is None:
        Session(asked, conversation).run()
    else:
        _ask_once(asked, conversation, question, as_json=as_json)


def _meant(asked: Client, first: str | None, second: str | None) -> tuple[str, str | None]:
    # What is served matters only for one word alone, and costs a request.
    alone = first is not None and second is None and len(first.split()) == 1
    served = [each.id for each in asked.models()] if alone else []
    return what_was_meant(first, second, served)


def _ask_once(asked: Client, conversation: Conversation, question: str, *, as_json: bool) -> None:
    answer = Answer()
    pieces = stream(asked, conversation, question, answer)
    with contextlib.closing(pieces):
        try:
            for piece in pieces:
                if not as_json and not output.write(shown(piece), end=""):
                    return
        except CliError:
            if answer.text and not as_json:
                output.write()
            raise
    if not as_json:
        output.write()
        _tell_speed(answer)
        return
    output.write_json(
        {
            "model": conversation.model,
            "content": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "first_token_s": answer.first,
            "tokens_per_s": answer.speed,
        }
    )


def stream(
    asked: Client, conversation: Conversation, question: str, answer: Answer
) -> Generator[str, None, None]:
    """Ask, and give the pieces of the answer while `answer` fills. Raises: CliError."""
    began = time.monotonic()
    # Closed on the way out, whatever ends us: that is what stops the node.
    messages = conversation.asking(question)
    chunks = asked.chat(conversation.model, messages, conversation.max_tokens)
    with contextlib.closing(chunks):
        for chunk in chunks:
            piece = answer.take(chunk, time.monotonic() - began)
            if piece:
                yield piece


def shown(piece: str) -> str:
    """Give a piece as the owner's terminal may have it; a pipe gets it as it is."""
    return output.harmless(piece) if sys.stdout.isatty() else piece


def _tell_speed(answer: Answer) -> None:
    if answer.first is None:
        output.remark(say("chat.nothing"))
    elif answer.speed is None:
        output.remark(say("chat.speed.short", tokens=answer.tokens, first=answer.first))
    else:
        output.remark(
            say("chat.speed", tokens=answer.tokens, speed=answer.speed, first=answer.first)
        )


def _look_up(*_: object) -> None:
    """Do nothing: that a signal came is what makes Python look for others."""


class Session:
    """The conversation at a terminal, until the owner leaves."""

    def __init__(self, asked: Client, conversation: Conversation) -> None:
        self._client = asked
        self._conversation = conversation
        self._reader = Reader()
        self._prompt = say("chat.prompt")
        self._interruptible = False

    def run(self) -> None:
        """Read, answer, and so on. Ctrl-C stops what is going on, never the program."""
        handlers = {signal.SIGINT: self._interrupted, signal.SIGALRM: _look_up}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            self._talk()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupted(self, *_: object) -> None:
        # Pressed again while the first one is being dealt with, it has nothing left to stop.
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _may_be_interrupted(self) -> Iterator[None]:
        self._interruptible = True
        # A signal that falls between Python's last look and the system call that then waits would
        # be seen when that call ends: in minutes. So no call waits longer than this.
        signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY, _LOOK_EVERY)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._interruptible = False

    def _talk(self) -> None:
        # Line editing and history of the input, where Python was built with it.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        hello = say("chat.hello", model=self._conversation.model, url=self._client.target.url)
        output.remark(hello)
        output.remark(say("chat.help"))
        going = True
        while going:
            going = self._step()

    def _step(self) -> bool:
        """Take one line; tell whether to go on."""
        try:
            with self._may_be_interrupted():
                line = input(self._prompt)
            typed = self._reader.take(line)
        except EOFError:
            output.write()
            return False
        except KeyboardInterrupt:
            self._reader.forget()
            typed = Typed("nothing")
            output.write()
            output.remark(say("chat.leave"))
        self._prompt = say("chat.more") if typed.kind == "more" else say("chat.prompt")
        if typed.kind == "command":
            return self._obey(typed.text, typed.argument)
        if typed.kind == "text":
            self._ask(typed.text)
        return True

    def _obey(self, command: str, argument: str) -> bool:
        match command:
            case "/quit" | "/exit":
                return False
            case "/reset":
                self._conversation.reset()
                output.remark(say("chat.reset"))
            case "/model" if argument:
                self._conversation.model = argument
                output.remark(say("chat.model", model=argument))
            case "/model":
                output.remark(say("chat.model.which", model=self._conversation.model))
            case "/help":
                output.remark(say("chat.help"))
            case _:
                output.remark(say("chat.unknown", command=output.harmless(command)))
        return True

    def _ask(self, question: str) -> None:
        answer = Answer()
        try:
            with self._may_be_interrupted():
                self._show(question, answer)
            output.write()
            _tell_speed(answer)
        except KeyboardInterrupt:
            output.write()
            output.remark(say("chat.stopped"))
        except CliError as error:
            if answer.text:
                output.write()
            output.report(error)
        if answer.text:
            self._conversation.answered(question, answer.text)

    def _show(self, question: str, answer: Answer) -> None:
        pieces = stream(self._client, self._conversation, question, answer)
        with contextlib.closing(pieces):
            for piece in pieces:
                output.write(shown(piece), end="")


__all__ = ["Session", "chat", "shown", "stream"]
