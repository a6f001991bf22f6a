"""What vLLM's log tells of a start; the lines are recorded from vLLM 0.32.0 on a CPU."""

import pytest

from garage_ai.node.engines.vllm_log import Story

STARTING = "(EngineCore pid=13137) INFO 11-25 13:45:17 [core.py:133] Initializing a V1 LLM engine"
LOADING = "(Worker pid=15069) INFO 11-25 13:45:35 [cpu_model_runner.py:68] Starting to load model m"
SHARDS = "Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:03<00:03,  1.2it/s]"
LOADED = "(Worker pid=15069) INFO 11-25 13:45:36 [default_loader.py:501] Loading weights took 0.43"
CACHE = "(EngineCore pid=1) INFO 11-25 13:45:38 [kv_cache_utils.py:2327] CPU KV cache size: 46,592"
UP = "INFO:     Application startup complete."


def test_tells_how_far_it_is() -> None:
    """Each stage in a word; of the weights which part."""
    story, told = Story(0.0), []
    for line in (STARTING, "noise", LOADING, SHARDS, LOADED, CACHE, UP):
        story.hear(line)
        told.append(story.words(1.0))
    assert told == [
        "starting",
        "starting",
        "loading weights",
        "loading weights 2/4",
        "weights are loaded",
        "making the cache",
        "warming up",
    ]


def test_capturing_is_told_in_per_cent() -> None:
    """The line in the form that vLLM documents for cards; not recorded here."""
    story = Story(0.0)
    story.hear("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  43%|####3  | 29/67")
    assert story.words(0.0) == "capturing CUDA graphs 43 %"


def test_what_it_had_taken_itself_is_told_from_what_others_hold() -> None:
    """NCCL's buffers between two cards, as PyTorch's issue 175666 has the line; and a game."""
    line = (
        "(Worker_TP1 pid=7) ERROR 02-24 [multiproc_executor.py:9] ValueError: Free memory on "
        "device cuda:1 ({}/22.05 GiB) on startup is less than desired GPU memory utilization (0.9, "
        "19.84 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
    )
    for free, lacked in (("19.77", 0.07), ("17.5", 2.34), ("3.1", 0.0), ("19.84", 0.0)):
        story = Story(0.0)
        story.hear(line.format(free))
        story.hear(UP)
        assert round(story.lacked / 2**30, 2) == lacked


def test_guesses_from_the_last_time() -> None:
    """The guess counts down, is rounded as guesses are, and never says that it is over."""
    story = Story(100.0, before=90.0)
    assert story.words(100.0) == "starting; about 90 s left"
    assert story.words(152.0) == "starting; about 40 s left"
    assert story.words(500.0) == "starting; about 5 s left"
    assert story.left(500.0) == 1.0
    assert Story(0.0).left(10.0) == 0.0


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            [
                (
                    "(EngineCore pid=1) ERROR 11-25 [core.py:9] ValueError: Free memory on device "
                    "cuda:0 (3.1/23.6 GiB) on startup is less than desired"
                ),
                "RuntimeError: Engine core initialization failed. See root cause above.",
            ],
            (
                "other programs hold the card's memory; close them, or lower --memory-share "
                "(ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less than "
                "desired)"
            ),
        ),
        (
            ["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"],
            (
                "the card's memory does not suffice; lower --context or --slots "
                "(OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB)"
            ),
        ),
        (
            ["api_server.py: error: unrecognized arguments: --uds"],
            "error: unrecognized arguments: --uds",
        ),
        (["RuntimeError: Engine core initialization failed. See root cause above."], ""),
        ([STARTING, UP], ""),
    ],
)
def test_finds_the_root_cause(lines: list[str], cause: str) -> None:
    """The first error counts, not what the others say after it; with advice where there is one."""
    story = Story(0.0)
    for line in lines:
        story.hear(line)
    assert story.cause == cause
