"""How fast a node measured itself to be, signed by its key: its own word, kept as such.

What is signed, each line ended by a newline:

    benchmark   gai-bench-v1, node id, nonce, sha256 of the body (hex), public key

The body is signed and kept as the text it was sent as, so that anyone can check it again.
"""

import hashlib
from typing import Annotated, Final, Literal

import msgspec

from garage_ai.wire.errors import Malformed
from garage_ai.wire.identity import KeyText, NodeIdentity, Nonce, Signature, verify_text
from garage_ai.wire.ids import NodeId

MAX_BODY: Final = 16_384
MAX_RATE: Final = 1e7
"""Most tokens per second that are taken for a measurement."""

Rate = Annotated[float, msgspec.Meta(ge=0, le=MAX_RATE)]
Spell = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
LineRate = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Name = Annotated[str, msgspec.Meta(max_length=200)]


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What so many streams at a time gave; tokens per second, times in seconds.

    `decode` is of all streams together, `prefill` of all prompts together; `ttft` is the median
    and `ttft_worst` the longest time to the first token.
    """

    streams: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    answered: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    failed: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    decode: Rate
    prefill: Rate
    ttft: Spell
    ttft_worst: Spell


class Benchmark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement of one model on one node; None for what is not known.

    `at` is the node's clock in seconds since 1970, `context` in tokens of each slot. `memory` is
    the most bytes the engine held, of the cards or the PC. `watts` is the mean over the run: of
    whole cards by their own word (`nvml`), or an estimate from the counters of whole processor
    packages (`rapl`), other programs' share and nothing of the rest of the PC in it. `watt_hours`
    went into 1,000 tokens of answers, prompts included. `up` and `down` in bytes per second.
    `factor` is the cards' published speed beside the reference card's.
    """

    version: Literal[1] = 1
    at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    agent: Name
    engine: Name
    model: Name
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
    context: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]
    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    cpu: Name
    gpus: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)]
    levels: Annotated[tuple[Level, ...], msgspec.Meta(min_length=1, max_length=8)]
    seconds: Spell
    load: Spell | None = None
    round_trip: Spell | None = None
    engine_version: Name = ""
    driver: Name = ""
    memory: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] | None = None
    memory_on: Literal["", "cards", "pc"] = ""
    watts: Annotated[float, msgspec.Meta(ge=0, le=1e5)] | None = None
    watts_by: Literal["", "nvml", "rapl"] = ""
    watt_hours: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None
    up: LineRate | None = None
    down: LineRate | None = None
    factor: Annotated[float, msgspec.Meta(ge=0, le=1000)] | None = None


class SignedBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark as it is sent: `body` is its JSON."""

    node: Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
    nonce: Nonce
    body: Annotated[str, msgspec.Meta(min_length=2, max_length=MAX_BODY)]
    signature: Signature


_decoder: Final = msgspec.json.Decoder(Benchmark)


def benchmark_text(node: NodeId, nonce: str, body: str, public_key: str) -> bytes:
    """Say what a node signs."""
    # A text that is no UTF-8 is refused when it is read; here it only must not break.
    digest = hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()
    return f"gai-bench-v1\n{node}\n{nonce}\n{digest}\n{public_key}\n".encode()


def sign_benchmark(
    identity: NodeIdentity, node: NodeId, nonce: str, benchmark: Benchmark
) -> SignedBenchmark:
    """Sign a measurement over the gateway's nonce."""
    body = msgspec.json.encode(benchmark).decode()
    signature = identity.sign_text(benchmark_text(node, nonce, body, identity.public_key))
    return SignedBenchmark(node=node, nonce=nonce, body=body, signature=signature)


def open_benchmark(signed: SignedBenchmark, public_key: KeyText) -> Benchmark:
    """Check who signed and read what. Raises: NkeyError, Malformed."""
    text = benchmark_text(signed.node, signed.nonce, signed.body, public_key)
    verify_text(public_key, text, signed.signature)
    return decode_benchmark(signed.body)


def decode_benchmark(body: str | bytes) -> Benchmark:
    """Read a benchmark's body. Raises: Malformed."""
    if len(body) > MAX_BODY:
        raise Malformed(f"a benchmark of {len(body)} characters; {MAX_BODY} are allowed")
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Malformed(str(error)[:200]) from error


__all__ = [
    "MAX_BODY",
    "MAX_RATE",
    "Benchmark",
    "Level",
    "SignedBenchmark",
    "benchmark_text",
    "decode_benchmark",
    "open_benchmark",
    "sign_benchmark",
]
