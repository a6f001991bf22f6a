"""Describe a folder in the form of Hugging Face that its owner points at: safetensors and JSON.

Weights in a pickle and models that bring code of their own are refused: both run what a stranger
wrote.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from garage_ai.catalog.digests import Digest, digest_of_bytes
from garage_ai.catalog.errors import FolderInvalid
from garage_ai.catalog.local_file import name_from
from garage_ai.catalog.manifest import Manifest, ModelFile, ModelKind, check_manifest
from garage_ai.catalog.safetensors import count_parameters
from garage_ai.catalog.sources import InFolder

CONFIG: Final = "config.json"
_WEIGHTS: Final = ".safetensors"
_INDEX: Final = "model.safetensors.index.json"
_KEPT: Final = frozenset({_WEIGHTS, ".jinja", ".json", ".model", ".tiktoken", ".txt"})
_MAX_JSON: Final = 64 * 1024 * 1024
_SNAPSHOT: Final = re.compile(r"[0-9a-f]{40}\Z")
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_GENERATIVE: Final = ("ForCausalLM", "ForConditionalGeneration")

_T = TypeVar("_T")
_Word = Annotated[str, msgspec.Meta(max_length=100)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**40)]


_Side = Annotated[int, msgspec.Meta(ge=1, le=2**20)]
_GroupSize = Annotated[int, msgspec.Meta(ge=-1, le=2**20)]
_LEAST_OF_GROUPS: Final = 64
"""What a part is a multiple of at least where groups of weights share a scale (vLLM 0.32,
marlin_utils.py: check_moe_marlin_supports_layer)."""


class _Scaled(msgspec.Struct):
    """How many weights share a scale: a block of rows and columns, or a group in a row."""

    weight_block_size: Annotated[list[_Side], msgspec.Meta(max_length=2)] | None = None
    block_structure: Annotated[list[_Side], msgspec.Meta(max_length=2)] | None = None
    group_size: _GroupSize | None = None

    @property
    def block(self) -> int:
        """What a width that is cut stays a multiple of."""
        blocks = self.weight_block_size or self.block_structure
        if blocks:
            return math.lcm(*blocks)
        # -1: a whole row has one.
        return max(_LEAST_OF_GROUPS, self.group_size) if self.group_size else 1


class _Group(msgspec.Struct):
    weights: _Scaled | None = None


class _Quantisation(_Scaled):
    quant_method: _Word = ""
    config_groups: Annotated[dict[str, _Group], msgspec.Meta(max_length=64)] | None = None

    @property
    def widest(self) -> int:
        """The block of all groups of layers that the configuration tells apart."""
        groups = [
            each.weights.block for each in (self.config_groups or {}).values() if each.weights
        ]
        return max(self.block, *groups, 1)


class _Shape(msgspec.Struct):
    """What a config says of the text model; one that also sees has it in `text_config`."""

    num_attention_heads: _Count | None = None
    max_position_embeddings: _Count | None = None
    dtype: _Word | None = None
    torch_dtype: _Word | None = None


class _Config(_Shape):
    architectures: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=16)] = ()
    model_type: _Word = ""
    quantization_config: _Quantisation | None = None
    text_config: _Shape | None = None
    auto_map: dict[str, object] | None = None


class _Tokenizer(msgspec.Struct):
    chat_template: str | list[object] | None = None
    auto_map: dict[str, object] | None = None


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class FolderConfig(msgspec.Struct, frozen=True):
    """What `config.json` says: heads of attention, longest context, how numbers are kept.

    `quantisation` is the method's name, empty for weights as they were trained. A width that is cut
    among cards stays a multiple of `block`.
    """

    architecture: str
    family: str
    heads: int
    context: int
    dtype: str
    quantisation: str
    block: int = 1


def read_folder_config(folder: Path) -> FolderConfig:
    """Read a model's `config.json`. Raises FolderInvalid."""
    config = read_json(folder / CONFIG, _Config)
    if config.auto_map:
        raise FolderInvalid(f"{folder.name} brings code of its own (auto_map), which is never run")
    text = config.text_config or config
    heads = text.num_attention_heads or config.num_attention_heads
    context = text.max_position_embeddings or config.max_position_embeddings
    architecture = config.architectures[0] if config.architectures else ""
    if not architecture.endswith(_GENERATIVE) or heads is None or context is None:
        raise FolderInvalid(f"{folder.name} is no model that writes text: {architecture or '?'}")
    quantisation = config.quantization_config
    return FolderConfig(
        architecture=architecture,
        family=config.model_type or architecture,
        heads=heads,
        context=context,
        dtype=text.dtype or text.torch_dtype or config.dtype or config.torch_dtype or "unknown",
        quantisation=quantisation.quant_method if quantisation is not None else "",
        block=quantisation.widest if quantisation is not None else 1,
    )


def read_index(files: Mapping[str, Path]) -> frozenset[str] | None:
    """Read which files hold weights; None where no index says so. Raises FolderInvalid."""
    if _INDEX not in files:
        return None
    return frozenset(read_json(files[_INDEX], _Index).weight_map.values())


def files_of(folder: Path) -> list[str]:
    """Name the files that make up the model, `config.json` first.

    Raises FolderInvalid when it cannot be read or a part of the weights is missing.
    """
    try:
        found = sorted(
            each.name
            for each in folder.iterdir()
            if each.suffix in _KEPT and not each.name.startswith(".") and each.is_file()
        )
    except OSError as error:
        raise FolderInvalid(f"{folder} cannot be read: {error.strerror}") from error
    if CONFIG not in found or not any(name.endswith(_WEIGHTS) for name in found):
        raise FolderInvalid(f"{folder} holds no {CONFIG} with weights as {_WEIGHTS} files")
    if _INDEX in found:
        wanted = set(read_json(folder / _INDEX, _Index).weight_map.values())
        missing = sorted(wanted.difference(found))
        if missing:
            raise FolderInvalid(f"{folder} lacks {missing[0]}, which its index names")
    found.remove(CONFIG)
    return [CONFIG, *found]


def manifest_for_folder(
    folder: Path, sha256: Mapping[str, str], *, name: str | None = None
) -> Manifest:
    """Make a manifest for the model in `folder`, given the SHA-256 of each of `files_of` it.

    The digest does not depend on where the folder is. Raises FolderInvalid, and ManifestInvalid
    when the name cannot be a model's name.
    """
    folder = folder.absolute()
    config = read_folder_config(folder)
    names = files_of(folder)
    if sha256.keys() != set(names):
        raise FolderInvalid(f"{folder.name} changed while it was read")
    called = name or name_from(_stem(folder))
    template = _template(folder, names)
    tokenizer = sha256.get("tokenizer.json") or sha256.get("tokenizer.model")
    return check_manifest(
        Manifest(
            id=called,
            name=called,
            family=config.family,
            kind=_kind(template),
            context_length=config.context,
            parameters=max(1, _parameters(folder, names)),
            quantisation=config.quantisation or _DTYPES.get(config.dtype, config.dtype),
            licence="unknown",
            template_digest=digest_of_bytes(template.encode()) if template else None,
            tokenizer_digest=Digest(f"sha256:{tokenizer}") if tokenizer else None,
            files=tuple(_file(folder / each, sha256[each]) for each in names),
            sources=(InFolder(folder=str(folder)),),
        )
    )


def _file(path: Path, sha256: str) -> ModelFile:
    try:
        return ModelFile(path=path.name, size=path.stat().st_size, sha256=sha256)
    except OSError as error:
        raise FolderInvalid(f"{path} cannot be read: {error.strerror}") from error


def _parameters(folder: Path, names: Sequence[str]) -> int:
    return sum(count_parameters(folder / each) for each in names if each.endswith(_WEIGHTS))


def _template(folder: Path, names: Sequence[str]) -> str:
    """Find the chat template, in a file of its own or in the tokenizer's."""
    if "chat_template.jinja" in names:
        return _bytes_of(folder / "chat_template.jinja").decode(errors="replace")
    if "tokenizer_config.json" not in names:
        return ""
    tokenizer = read_json(folder / "tokenizer_config.json", _Tokenizer)
    if tokenizer.auto_map:
        raise FolderInvalid(f"{folder.name} brings a tokenizer of its own code (auto_map)")
    template = tokenizer.chat_template
    if not template:
        return ""
    return template if isinstance(template, str) else msgspec.json.encode(template).decode()


def _kind(template: str) -> ModelKind:
    return "chat" if template else "completion"


def _stem(folder: Path) -> str:
    """Give a folder's name; in a cache of Hugging Face that of the repository, not of a commit."""
    if _SNAPSHOT.match(folder.name) and folder.parent.name == "snapshots":
        return folder.parent.parent.name.rpartition("--")[2]
    return folder.name


def read_json(path: Path, kind: type[_T]) -> _T:
    """Read a file of JSON that a stranger may have written. Raises FolderInvalid."""
    try:
        return msgspec.json.decode(_bytes_of(path), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FolderInvalid(f"{path.name}: {str(error)[:200]}") from error


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise FolderInvalid(f"{path.name} is far too large")
        return path.read_bytes()
    except OSError as error:
        raise FolderInvalid(f"{path} cannot be read: {error.strerror}") from error
