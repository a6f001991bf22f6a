"""How an engine shows that memory did not suffice.

llama.cpp's lines on the processor are recorded from this project's own version under a limit of
address space; those of cards are quoted from ggml-org/llama.cpp issues 20431 and 11476 and pull
request 26297, vLLM's from vllm-project/vllm issues 14992, 36861 and 783.
"""

from pathlib import Path

import pytest

from garage_ai.node.fitting.signs import kills_so_far, ran_out, says_out_of_memory

LLAMACPP = [
    "0.00.389.207 E ggml_aligned_malloc: insufficient memory (attempted to allocate 11520.00 MB)",
    "0.00.389.232 E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 1",
    "0.0 E ggml_backend_buft_alloc_buffer_n_default: failed to allocate CPU buffer of size 120795",
    (
        "0.00.390.992 E llama_init_from_model: failed to initialize the context: "
        "failed to allocate buffer for kv cache"
    ),
    (
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: "
        "cudaMalloc failed: out of memory"
    ),
    "alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624",
    "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    "1.06.520.086 E graph_reserve: failed to allocate compute buffers",
    "ggml_gallocr_reserve_n: failed to allocate CUDA1 buffer of size 10345253120",
    "0.00.379.045 E llama_model_load: error loading model: mmap failed: Cannot allocate memory",
    "CUDA error: out of memory",
    "terminate called after throwing an instance of 'std::bad_alloc'",
]
VLLM = [
    (
        "(EngineCore_DP0 pid=38456) ERROR 03-11 [core.py:1100] ValueError: No available memory for "
        "the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine."
    ),
    (
        "ValueError: To serve at least one request with the models's max seq len (131072), (4.11 "
        "GiB KV cache is needed, which is larger than the available KV cache memory (4.0 GiB)."
    ),
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 642.00 MiB. GPU 0 has a total",
    (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 8589934592 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "MemoryError: Unable to allocate 3.00 GiB for an array",
]
OTHERS = [
    "0.00.391.522 E srv          init: exiting due to model loading error",
    "ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less than desired",
    "llama_model_load: error loading model: tensor 'x' data is not within the file bounds",
    "INFO:     Application startup complete.",
    "listening /run/gai/engine.sock",
]


@pytest.mark.parametrize("line", LLAMACPP + VLLM)
def test_an_engine_says_that_memory_did_not_suffice(line: str) -> None:
    """Each in its own words."""
    assert says_out_of_memory(line)


@pytest.mark.parametrize("line", OTHERS)
def test_other_failures_are_no_want_of_memory(line: str) -> None:
    """Least of all a card that others hold: a smaller context would free nothing of it."""
    assert not says_out_of_memory(line)


@pytest.mark.parametrize(
    ("code", "said", "killed_by_us", "kills", "ran"),
    [
        (1, True, False, 0, True),
        (-6, True, False, 0, True),  # ggml_abort
        (137, False, False, 1, True),  # a container at its limit
        (-9, False, False, 1, True),  # the kernel's choice on a full PC
        (1, False, False, 1, True),  # vLLM whose worker was chosen
        (-9, False, False, 0, False),  # somebody's kill -9
        (137, False, False, 0, False),
        (-9, True, True, 1, False),  # ours
        (0, True, False, 1, False),
        (-15, True, False, 1, False),  # it said so, went on, and was asked to end
        (143, True, False, 0, False),
        (None, True, False, 1, False),
        (1, False, False, 0, False),
    ],
)
def test_ending_for_want_of_memory(
    code: int | None, said: bool, killed_by_us: bool, kills: int, ran: bool
) -> None:
    """By its own word or the kernel's, and never for what we have done ourselves."""
    assert ran_out(code, said=said, killed_by_us=killed_by_us, kills=kills) is ran


def test_the_kernel_counts_what_it_kills(tmp_path: Path) -> None:
    """This kernel tells; one that does not has killed nobody as far as we know."""
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 12\noom_kill 7\noom_kill_other 9\n")
    assert kills_so_far(vmstat) == 7
    assert kills_so_far(tmp_path / "none") == 0
    assert kills_so_far() >= 0
