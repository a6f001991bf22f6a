"""Chat templates, rendered as engines render them: Jinja with what Hugging Face adds to it.

A template comes with a model, from whoever made it. It is rendered in Jinja's sandbox, which keeps
it from everything but its messages. What no sandbox of Python keeps it from, endless loops and text
without end, is bounded by the process that this runs in (`process`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from garage_ai.ledger.counting.errors import TemplateFailed

MAX_TEMPLATE: Final = 256 * 1024
"""Characters of a template; the longest in use have a tenth of it."""
MAX_RENDERED: Final = 64 * 1024 * 1024
"""Characters of a prompt; a request's body is at most half of it."""

Message = Mapping[str, Any]


class Template:
    """A model's chat template, ready to be rendered."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        """Compile it. Raises: TemplateFailed."""
        if len(source) > MAX_TEMPLATE:
            raise TemplateFailed(f"a template of {len(source)} characters is too long")
        self.source = source
        self.knows_tools = "tools" in source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(source)
        except (TemplateError, RecursionError, SyntaxError) as error:
            raise TemplateFailed(f"the template does not compile: {error}") from error

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[object] | None = None,
        options: Mapping[str, object] | None = None,
        *,
        answers: bool = True,
    ) -> str:
        """Write the prompt, with `answers` up to where the model begins. Raises: TemplateFailed."""
        values = {
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": answers,
            **self._tokens,
            **(options or {}),
        }
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.generate(values):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_RENDERED:
                    raise TemplateFailed(f"more than {MAX_RENDERED} characters were written")
        except TemplateFailed:
            raise
        except Exception as error:  # whatever a stranger's program may raise
            raise TemplateFailed(f"the template failed: {str(error)[:200]}") from error
        return "".join(pieces)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes what HTML would read; a prompt is none.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


__all__ = ["MAX_RENDERED", "MAX_TEMPLATE", "Message", "Template"]
