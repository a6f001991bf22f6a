"""How an engine shows that memory did not suffice: by what it says, or by how it ends.

llama.cpp's words are those of its source (ggml.c, ggml-backend.cpp, ggml-alloc.c, ggml-cuda.cu,
llama-context.cpp, llama-model.cpp), vLLM's those of 0.32 and of PyTorch. A line alone is no proof:
llama.cpp tries again without pipeline parallelism after some of them. It counts when the engine
then ends by itself.
"""

import re
import signal
from pathlib import Path
from typing import Final

from garage_ai.catalog.planner import GIB

CARD_FULL: Final = re.compile(r"OutOfMemoryError|out of memory|can't allocate memory", re.I)
"""PyTorch's, CUDA's, and those of PyTorch's allocator on the processor."""

NO_CACHE: Final = re.compile(r"KV cache is (?:needed|larger)|No available memory for the cache")
"""vLLM found no room for the cache of one whole sequence."""

_LOOKED: Final = re.compile(
    r"Free memory on device[^(]{0,20}\((\d{1,5}(?:\.\d{1,3})?)/\d[\d.]{0,8} GiB\) on startup is "
    r"less than desired GPU memory utilization "
    r"\(\d[\d.]{0,8}, (\d{1,5}(?:\.\d{1,3})?) GiB\)"
)
"""vLLM looks what is free once CUDA has begun and NCCL has its buffers between cards: of a card's
memory those are some hundred megabytes to gigabytes (v1/worker/gpu_worker.py, init_device)."""

_MOST_OWN: Final = 5 * GIB
"""What of that may be vLLM's own: 2.3 GiB in PyTorch's issue 175666, 4.5 in vLLM's pull request
25359. More is another program's."""

_LLAMACPP: Final = re.compile(
    r"ggml_aligned_malloc: insufficient memory"
    r"|failed to allocate (?:\S+ )?buffer of size \d"
    r"|failed to allocate buffer for kv cache"
    r"|failed to allocate compute (?:buffers|graph)"
    r"|unable to allocate \S+ buffer"
    r"|mmap failed: Cannot allocate memory"
    r"|ErrorOut(?:OfDevice|OfHost)Memory"
    r"|std::bad_alloc"
)
_PYTHON: Final = re.compile(r"^(?:\(\S+ pid=\d+\) )?MemoryError\b")

_SIGNS: Final = (CARD_FULL, NO_CACHE, _LLAMACPP, _PYTHON)

_ASKED_TO_END: Final = frozenset({0, -signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGINT})
"""How a process ends that was told to."""

_VMSTAT: Final = Path("/proc/vmstat")


def says_out_of_memory(line: str) -> bool:
    """Tell whether a line of an engine's log says that memory did not suffice."""
    return any(sign.search(line) for sign in _SIGNS)


def lacked_at_first(line: str) -> int:
    """Give the bytes of a card that vLLM lacked for what it had taken itself, before it looked.

    0 in other lines, and where more was lacking than can be its own.
    """
    found = _LOOKED.search(line)
    lacked = int((float(found[2]) - float(found[1])) * GIB) if found else 0
    return lacked if 0 < lacked <= _MOST_OWN else 0


def ran_out(code: int | None, *, said: bool, killed_by_us: bool, kills: int) -> bool:
    """Tell whether an engine ended for want of memory.

    `code` is its exit status, negative for a signal, 137 for a container's SIGKILL; `said` whether
    its log says so; `kills` how many processes the kernel has killed for memory on this host in the
    meantime. Without the latter SIGKILL may have been anybody's.
    """
    if killed_by_us or code is None or code in _ASKED_TO_END:
        return False
    return said or kills > 0


def kills_so_far(vmstat: Path = _VMSTAT) -> int:
    """Count what the kernel has killed for memory since it started, in containers too.

    `oom_kill` of /proc/vmstat, since Linux 4.13; 0 where it is not told.
    """
    try:
        lines = vmstat.read_text("ascii").splitlines()
    except OSError:
        return 0
    found = (line.split() for line in lines if line.startswith("oom_kill "))
    return next((int(words[1]) for words in found if words[1].isdecimal()), 0)


__all__ = [
    "CARD_FULL",
    "NO_CACHE",
    "kills_so_far",
    "lacked_at_first",
    "ran_out",
    "says_out_of_memory",
]
