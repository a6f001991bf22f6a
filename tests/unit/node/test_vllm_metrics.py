"""vLLM's load out of its page for Prometheus; the page is recorded from vLLM 0.32.0, shortened."""

import pytest

from garage_ai.node.engines.port import EngineLoad
from garage_ai.node.engines.vllm_metrics import read_load

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="smol"} 3.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="smol"} 1.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="smol",reason="capacity"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="smol"} 0.17307692307692313
vllm:prefix_cache_queries_total{engine="0",model_name="smol"} 44.0
"""


def test_reads_what_runs_and_waits() -> None:
    """Three gauges are enough."""
    assert read_load(PAGE.encode()) == EngineLoad(3, 1, 0.17307692307692313)


def test_engines_are_added_up() -> None:
    """Requests of all engine processes together, the fullest cache of them."""
    two = PAGE.replace('engine="0"', 'engine="1"').replace("0.17307692307692313", "0.5")
    assert read_load((PAGE + two).encode()) == EngineLoad(6, 2, 0.5)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"\xff\xfe",
        PAGE.replace(" 3.0", " nan").encode(),
        PAGE.replace(" 3.0", " -1").encode(),
        PAGE.replace(" 3.0", " many").encode(),
        PAGE.replace("kv_cache_usage_perc", "gpu_cache_usage_perc").encode(),
    ],
)
def test_a_page_that_does_not_tell_is_no_load(page: bytes) -> None:
    """Nothing is made up of what is missing or no number."""
    assert read_load(page) is None


def test_numbers_are_bounded() -> None:
    """A page cannot say more than a beat may."""
    load = read_load(PAGE.replace(" 3.0", " 1e300").replace("0.1730", "7.1730").encode())
    assert load == EngineLoad(1 << 20, 1, 1.0)
