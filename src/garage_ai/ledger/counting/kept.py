"""Make ready what is kept of a model for counting."""

import hashlib
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from garage_ai.catalog import GgufInvalid, read_vocabulary
from garage_ai.ledger.counting.bpe import adds_bos, tokenizer_of
from garage_ai.ledger.counting.counter import Counter
from garage_ai.ledger.counting.errors import TemplateFailed, TokenizerAbsent, TokenizerBroken
from garage_ai.ledger.counting.layout import CONFIG, HEADER, TEMPLATE, TOKENIZER
from garage_ai.ledger.counting.templates import Template


class _Named(msgspec.Struct, frozen=True):
    name: str
    template: str


class _Token(msgspec.Struct, frozen=True):
    content: str


class _Config(msgspec.Struct, frozen=True):
    bos_token: str | _Token | None = None
    eos_token: str | _Token | None = None
    chat_template: str | list[_Named] | None = None


def load(folder: Path) -> Counter:
    """Make ready what counts for the model in `folder`. Raises: CountingError."""
    if (folder / HEADER).exists():
        return _from_header(folder / HEADER)
    if (folder / TOKENIZER).exists():
        return _from_folder(folder)
    raise TokenizerAbsent(f"nothing is kept in {folder.name}")


def _from_header(path: Path) -> Counter:
    try:
        found = read_vocabulary(path)
    except GgufInvalid as error:
        raise TokenizerBroken(str(error)) from error
    return Counter(
        tokenizer=tokenizer_of(found),
        engine="llama.cpp",
        template=_template(found.template or "", found.bos, found.eos),
        bos=found.bos,
        adds_bos=adds_bos(found),
        adds_eos=bool(found.adds_eos),
        vocabulary=str(found.tokenizer_digest),
    )


def _from_folder(folder: Path) -> Counter:
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        vocabulary = hashlib.sha256((folder / TOKENIZER).read_bytes()).hexdigest()
    except Exception as error:  # its own class for what Rust refuses, and no other
        raise TokenizerBroken(f"{TOKENIZER} cannot be used: {str(error)[:200]}") from error
    try:
        config = _read_config(folder / CONFIG)
        source = _source(folder, config)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TokenizerBroken(f"{CONFIG} cannot be read: {str(error)[:200]}") from error
    bos, eos = _text(config.bos_token), _text(config.eos_token)
    template = _template(source, bos, eos)
    return Counter(tokenizer, "vllm", template, bos, vocabulary=vocabulary)


def _read_config(path: Path) -> _Config:
    return msgspec.json.decode(path.read_bytes(), type=_Config) if path.exists() else _Config()


def _source(folder: Path, config: _Config) -> str:
    if (folder / TEMPLATE).exists():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    found = config.chat_template or ""
    if isinstance(found, str):
        return found
    return next((each.template for each in found if each.name == "default"), "")


def _text(token: str | _Token | None) -> str:
    return token.content if isinstance(token, _Token) else token or ""


def _template(source: str, bos: str, eos: str) -> Template | None:
    """Compile a template; without one that can be, chats are counted by their texts."""
    try:
        return Template(source, bos=bos, eos=eos) if source else None
    except TemplateFailed:
        return None


__all__ = ["load"]
