"""What the mock engine can be told to do: pace, shape and faults.

The same struct is the command line (`--chunk-delay 0.01`) and the body of `POST /mock/options`,
so a running engine can be given a fault and be healed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

import msgspec

__all__ = ["Options", "add_arguments", "options_from"]


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Behaviour of a mock engine; delays in seconds, sizes in bytes, counts in chunks.

    A fault that counts chunks strikes after that many were sent; 0 means before the first byte.
    On an answer that is not streamed the same faults strike instead of the answer.
    """

    models: str = "mock"  # names, separated by commas
    chunks: int = 32  # content chunks of an answer when the request names no max_tokens
    batch: int = 1  # chunks in one write; the faults that count chunks want 1
    first_byte_delay: float = 0.0
    chunk_delay: float = 0.0
    early_head: bool = False  # the head of a stream at once, before first_byte_delay
    slots: int = 0  # requests at work at a time, the rest wait in line; 0: no limit
    prompt_tokens: int = 16  # what usage says
    embedding_size: int = 8

    die_after: int | None = None  # the process ends with status 9
    stall_after: int | None = None  # no further byte, connection stays open
    cut_after: int | None = None  # the connection is closed
    garbage_after: int | None = None  # bytes that are no event, then the stream goes on
    bad_json_after: int | None = None  # an event whose JSON breaks off, then the stream goes on
    hang_up: bool = False  # the connection is closed after each stream, unannounced: llama.cpp does
    no_done: bool = False  # a stream ends without [DONE]
    bad_json: bool = False  # a plain answer is JSON that breaks off
    oversized_event: int = 0  # the first event is at least this long
    huge_body: int = 0  # a plain answer is at least this long
    fail_every: int = 0  # every n-th request is answered with fail_status; 1: every one
    fail_status: int = 500

    @property
    def names(self) -> list[str]:
        """Say which models this engine lists."""
        return self.models.split(",")

    @property
    def faulty(self) -> bool:
        """Say whether an answer may break in the middle."""
        return (
            self.die_after is not None
            or self.stall_after is not None
            or self.cut_after is not None
            or self.garbage_after is not None
            or self.bad_json_after is not None
            or self.oversized_event > 0
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser one option for each field of Options."""
    defaults = Options()
    for field in msgspec.structs.fields(Options):
        flag = "--" + field.name.replace("_", "-")
        default = getattr(defaults, field.name)
        if field.type is bool:
            parser.add_argument(flag, action="store_true", dest=field.name)
        else:
            kinds = [kind for kind in get_args(field.type) if kind is not type(None)]
            kind = kinds[0] if kinds else field.type
            parser.add_argument(flag, type=kind, default=default, dest=field.name)


def options_from(arguments: argparse.Namespace) -> Options:
    """Build Options from what `add_arguments` added."""
    names: Sequence[str] = [field.name for field in msgspec.structs.fields(Options)]
    return msgspec.convert({name: getattr(arguments, name) for name in names}, Options)
