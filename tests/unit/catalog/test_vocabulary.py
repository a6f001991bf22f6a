"""A GGUF header lends its vocabulary, to whoever asks for it."""

import struct
from pathlib import Path

import pytest
from tests.unit.catalog.test_gguf import gguf, pair, parsed, texts, u32, word

from garage_ai.catalog import GgufInvalid, read_gguf, read_vocabulary

TOKENS = texts("tokenizer.ggml.tokens", "<s>", "a", "b", "ab")
MERGES = texts("tokenizer.ggml.merges", "a b")


def types(*values: int) -> bytes:
    """Write the types of tokens."""
    raw = struct.pack("<IQ", 5, len(values)) + struct.pack(f"<{len(values)}i", *values)
    return pair("tokenizer.ggml.token_type", 9, raw)


def flag(key: str, *, on: bool) -> bytes:
    """Write yes or no."""
    return pair(key, 7, struct.pack("<?", on))


def written(path: Path, *pairs: bytes) -> Path:
    """Write a file of these pairs."""
    path.write_bytes(gguf(*pairs))
    return path


def test_a_vocabulary(tmp_path: Path) -> None:
    """Its tokens and pairs, what is special, and which digest it has in a manifest."""
    path = written(
        tmp_path / "m.gguf",
        word("tokenizer.ggml.model", "gpt2"),
        word("tokenizer.ggml.pre", "smollm"),
        TOKENS,
        types(3, 1, 1, 1),
        MERGES,
        u32("tokenizer.ggml.bos_token_id", 0),
        u32("tokenizer.ggml.eos_token_id", 9),
        flag("tokenizer.ggml.add_bos_token", on=False),
        word("tokenizer.chat_template", "{{ messages }}"),
    )
    found = read_vocabulary(path)
    assert (found.model, found.pre, found.template) == ("gpt2", "smollm", "{{ messages }}")
    assert (found.tokens, found.types) == (("<s>", "a", "b", "ab"), (3, 1, 1, 1))
    assert (found.merges, found.bos, found.eos) == (("a b",), "<s>", "")
    assert (found.adds_bos, found.adds_eos) == (False, None)
    header = read_gguf(path)
    assert found.tokenizer_digest == header.tokenizer_digest
    assert found.template_digest == header.template_digest


@pytest.mark.parametrize("pairs", [(), (TOKENS,), (TOKENS, types(3, 1)), (types(3),)])
def test_half_a_vocabulary_is_refused(tmp_path: Path, pairs: tuple[bytes, ...]) -> None:
    """Tokens without types would be counted wrong."""
    with pytest.raises(GgufInvalid):
        read_vocabulary(written(tmp_path / "m.gguf", *pairs))


def test_only_texts_and_whole_numbers_are_kept(tmp_path: Path) -> None:
    """Scores are of no use here, and a list of lists is none of ours."""
    raw = struct.pack("<IQ", 6, 1) + struct.pack("<f", 0.5)
    path = written(tmp_path / "m.gguf", pair("scores", 9, raw))
    assert read_gguf(path).lengths == {"scores": 1}
    with pytest.raises(GgufInvalid):
        read_gguf(path, keep=["scores"])


def test_the_header_says_how_long_it_is(tmp_path: Path) -> None:
    """So much of a file is enough to read it again."""
    data = gguf(TOKENS, types(3, 1, 1, 1), MERGES)
    header = parsed(data + b"\0" * 1000)
    assert len(data) <= header.size < len(data) + 32
    assert parsed((data + b"\0" * 1000)[: header.size]).tokenizer_digest == header.tokenizer_digest
