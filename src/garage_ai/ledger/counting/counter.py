"""One model's way of counting: its tokenizer, its template, and its engine's habits."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from garage_ai.ledger.counting.errors import TemplateFailed
from garage_ai.ledger.counting.orders import Count
from garage_ai.ledger.counting.requests import (
    MEDIUM_TOKENS,
    TURN_TOKENS,
    Asked,
    Chat,
    Engine,
    all_text,
    at_most,
    read_asked,
)
from garage_ai.ledger.counting.templates import Template
from garage_ai.wire.frames import Route


@dataclass(frozen=True, slots=True)
class Counter:
    """What counts for one model.

    `adds_bos` and `adds_eos` tell whether the engine puts those tokens around a prompt. Models of
    the same `vocabulary` can share a tokenizer.
    """

    tokenizer: Tokenizer
    engine: Engine
    template: Template | None
    bos: str = ""
    adds_bos: bool = False
    adds_eos: bool = False
    vocabulary: str = ""

    def count(self, route: Route, body: bytes, texts: Sequence[str]) -> Count:
        """Count a request and its answer. Raises: Uncountable."""
        source = self.template.source if self.template is not None else ""
        asked = read_asked(route, body, engine=self.engine, template=source)
        prompt, exact = self._prompt(asked)
        if asked.echo:
            texts = [_without_echo(text, asked.texts) for text in texts]
        each = self._lengths(texts)
        return Count(prompt, at_most(each, asked.most), exact and asked.single)

    def _prompt(self, asked: Asked) -> tuple[int, bool]:
        if asked.chat is None:
            around = 0
            if self.engine == "llama.cpp":
                around = len(asked.texts) * (self.adds_bos + self.adds_eos)
            lengths = self._lengths(asked.texts, special=self.engine == "vllm")
            return asked.tokens + around + sum(lengths), True
        media = asked.chat.media
        length, exact = self._chat(asked.chat)
        return length + media * MEDIUM_TOKENS, exact and not media

    def _chat(self, chat: Chat) -> tuple[int, bool]:
        try:
            if self.template is None:
                raise TemplateFailed("the model has none")
            tools = chat.tools if self.template.knows_tools else ()
            text = self.template.render(
                chat.messages, tools or None, chat.options, answers=chat.answers
            )
        except TemplateFailed:
            [length] = self._lengths([all_text(chat)])
            return length + TURN_TOKENS * (len(chat.messages) + 1), False
        if self.engine == "llama.cpp" and self.adds_bos and self.bos:
            # It is put there by the engine, and not twice.
            text = text.removeprefix(self.bos)
        # A template can write halves of characters, which nothing after it can read.
        [length] = self._lengths([text.encode("utf-8", "replace").decode() + chat.begun])
        if self.engine == "llama.cpp":
            length += self.adds_bos + self.adds_eos
        return length, not chat.tools or (self.engine == "llama.cpp" and self.template.knows_tools)

    def _lengths(self, texts: Sequence[str], *, special: bool = False) -> tuple[int, ...]:
        if not texts:
            return ()
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=special)
        return tuple([len(each) for each in found])


def _without_echo(text: str, prompts: Sequence[str]) -> str:
    return next((text[len(each) :] for each in prompts if text.startswith(each)), text)


__all__ = ["Counter"]
