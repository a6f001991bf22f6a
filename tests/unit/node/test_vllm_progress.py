"""Whether vLLM works on is read from its own figures alone."""

from garage_ai.node.engines.vllm_progress import Progress


def page(tokens: int, asked: int) -> bytes:
    return (
        b"# TYPE vllm:generation_tokens counter\n"
        b'vllm:generation_tokens_total{engine="0"} %d\n'
        b'http_requests_total{handler="/metrics"} %d\n' % (tokens, asked)
    )


def test_time_counts_from_the_last_change() -> None:
    """Of vLLM's figures; that it was asked for them is none."""
    progress = Progress()
    assert progress.still(page(7, 1), 100.0) == 0
    assert progress.still(page(7, 2), 105.0) == 5
    assert progress.still(page(8, 3), 110.0) == 0
    assert progress.still(page(8, 4), 113.0) == 3


def test_a_page_without_figures_changes_nothing() -> None:
    """It is as still as another."""
    progress = Progress()
    assert progress.still(b"", 1.0) == 0
    assert progress.still(b"# nothing\n", 4.0) == 3
