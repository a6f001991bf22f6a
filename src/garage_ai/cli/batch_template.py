"""Requests out of rows: what a template is, and the lines of a batch's input."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Final

import msgspec

ENDPOINT: Final = "/v1/chat/completions"
PROMPT: Final = "prompt"
"""The column that a row is asked by where no template is given."""


class BadTemplate(ValueError):
    """A template that cannot be filled in; the message names what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text with fields; each part is a text and the column that comes behind it, if any."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, text: str) -> "Template":
        """Read a template: {column} is a field, {{ and }} are braces. Raises: BadTemplate."""
        try:
            parts = tuple(Formatter().parse(text))
        except ValueError as error:
            raise BadTemplate(str(error)) from None
        for _, field, form, conversion in parts:
            if field == "" or form or conversion:
                raise BadTemplate("{" + (field or "") + "}")
        return cls(tuple((before, field) for before, field, _, _ in parts))

    @property
    def fields(self) -> frozenset[str]:
        """The columns that it needs."""
        return frozenset(field for _, field in self.parts if field is not None)

    def fill(self, row: Mapping[str, str]) -> str:
        """Put a row into it. Raises: KeyError for a column that the row has not."""
        return "".join(
            before + (row[field] if field is not None else "") for before, field in self.parts
        )


@dataclass(frozen=True, slots=True)
class Form:
    """What the requests of a batch have in common; `max_tokens` None: as long as it likes."""

    template: Template
    model: str
    system: str | None = None
    max_tokens: int | None = None

    def line(self, custom_id: str, row: Mapping[str, str]) -> bytes:
        """Write a row as a line of a batch's input. Raises: KeyError as `Template.fill`."""
        messages = [{"role": "user", "content": self.template.fill(row)}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        body: dict[str, object] = {"model": self.model, "messages": messages}
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        request = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
        return msgspec.json.encode(request) + b"\n"


__all__ = ["ENDPOINT", "PROMPT", "BadTemplate", "Form", "Template"]
