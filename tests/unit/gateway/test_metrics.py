"""What Prometheus reads."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from garage_ai.gateway.metrics import MAX_OWN, MOST_SECONDS, REST, Metrics, Scrape
from garage_ai.network.models import Census
from garage_ai.storage import KeyId, MemberId, UsagePart, UsageRecord

RECORD = UsageRecord(
    request_id="req_1",
    at=datetime(2026, 1, 1, tzinfo=UTC),
    member=MemberId("mbr_secret"),
    key_id=KeyId("key_secret"),
    route="chat",
    model="small",
    digest=None,
    node="nsecret",
    outcome="ok",
    stream=True,
    prompt_tokens=10,
    completion_tokens=20,
    content_events=20,
    bytes_out=100,
    ttft_s=0.05,
    duration_s=0.5,
    attempts=3,
)

MOVED = replace(
    RECORD,
    parts=(
        UsagePart("nsecret", "sha256:0", None, None, 5, "yielded", None),
        UsagePart("nsecret", "sha256:0", None, None, 0, "node_lost", None),
        UsagePart("nsecret", "sha256:0", 12, 15, 15, "ok", 0.25),
    ),
)


def test_a_request_is_counted() -> None:
    """One record feeds duration, first token, tokens and retries, under OTel's names."""
    metrics = Metrics()
    metrics.observe(RECORD)
    text = metrics.render().decode()
    labels = 'gai_priority="chat",gen_ai_operation_name="chat",gen_ai_request_model="small"'
    duration = 'gen_ai_server_request_duration_seconds_count{error_type="",' + labels + "} 1.0"
    assert duration in text
    assert "gen_ai_server_time_to_first_token_seconds_sum{" + labels + "} 0.05" in text
    tokens = "gen_ai_client_token_usage_sum{" + labels + ',gen_ai_token_type="output"} 20.0'
    assert tokens in text
    assert 'gai_retries_total{gai_priority="chat"} 2.0' in text


def test_batches_are_counted_apart() -> None:
    """Hours that a batch request waited are in no figure of chat's."""
    metrics = Metrics()
    metrics.observe(MOVED)
    of_chat = [line for line in metrics.render().decode().splitlines() if "_created" not in line]
    metrics.observe_batch(replace(MOVED, duration_s=9000.0, ttft_s=8000.0))
    text = metrics.render().decode().splitlines()
    assert set(of_chat) <= set(text)
    added = [line for line in text if line not in of_chat and "_created" not in line]
    assert added
    assert all('gai_priority="batch"' in line for line in added)
    assert any("request_duration_seconds_sum" in line and "9000.0" in line for line in added)


def test_moves_are_counted_by_what_made_them_necessary() -> None:
    """Each part but the first is one move; its gap is known where it said something."""
    metrics = Metrics()
    metrics.observe(MOVED)
    text = metrics.render().decode()
    assert 'gai_stream_moves_total{gai_priority="chat",reason="yielded"} 1.0' in text
    assert 'gai_stream_moves_total{gai_priority="chat",reason="node_lost"} 1.0' in text
    assert 'gai_stream_gap_seconds_count{gai_priority="chat"} 1.0' in text
    assert 'gai_stream_gap_seconds_sum{gai_priority="chat"} 0.25' in text


def test_giving_way_to_a_chat_is_no_move() -> None:
    """Nor is the time a batch request then waits a silence that a client heard."""
    metrics = Metrics()
    first, _, last = MOVED.parts
    metrics.observe(replace(MOVED, parts=(replace(first, outcome="preempted"), last)))
    text = metrics.render().decode()
    assert "gai_stream_moves_total{" not in text
    assert "gai_stream_gap_seconds_count" not in text


def test_nothing_personal() -> None:
    """Neither key, member nor node is named."""
    metrics = Metrics()
    metrics.observe(MOVED)
    assert b"secret" not in metrics.render()


def test_models_are_bounded() -> None:
    """Names that no node answered for, and more than 50 others, are not labels."""
    metrics = Metrics()
    metrics.observe(replace(RECORD, node=None, model="made up"))
    for number in range(MAX_OWN + 50):
        metrics.observe(replace(RECORD, model=f"m{number}"))
    text = metrics.render().decode()
    assert "made up" not in text
    assert f'gen_ai_request_model="m{MAX_OWN - 1}"' in text
    assert f'gen_ai_request_model="m{MAX_OWN}"' not in text
    assert 'gen_ai_request_model="other"' in text


def test_the_catalogues_models_are_always_named() -> None:
    """However many others there are, and though no node answered for it."""
    metrics = Metrics()
    metrics.name_all_of(lambda name: name == "ours")
    for number in range(MAX_OWN + 1):
        metrics.observe(replace(RECORD, model=f"m{number}"))
    metrics.observe(replace(RECORD, model="ours", node=None))
    assert 'gen_ai_request_model="ours"' in metrics.render().decode()


def test_what_only_grows_is_a_counter() -> None:
    """It is read at every scrape, and Prometheus can take its rate."""
    counted = iter([2, 5])
    metrics = Metrics()
    metrics.counter("gai_test_failures", "A test.", lambda: next(counted))
    text = metrics.render().decode()
    assert "# TYPE gai_test_failures_total counter" in text
    assert "gai_test_failures_total 2.0" in text
    assert "gai_test_failures_total 5.0" in metrics.render().decode()


def test_nodes_by_state() -> None:
    """Every state is there, also at zero."""
    metrics = Metrics()
    metrics.watch_nodes(lambda: Census({"ready": 2, "gone": 1}, 3))
    metrics.gauge("gai_test", "A test.", lambda: 7)
    text = metrics.render().decode()
    assert 'gai_nodes{state="ready"} 2.0' in text
    assert 'gai_nodes{state="paused"} 0.0' in text
    assert "gai_requests_running 3.0" in text
    assert "gai_test 7.0" in text


class Making:
    """Texts that take so long to make, on a clock that moves with it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.made = 0
        self.scrape = Scrape(self._render, busy=lambda: self.now, clock=lambda: self.now)

    def _render(self) -> bytes:
        self.now += self.seconds
        self.made += 1
        return b"%d" % self.made


@pytest.mark.parametrize(("seconds", "kept"), [(0.01, 0.01 * REST), (1.0, MOST_SECONDS)])
def test_a_long_text_is_given_again(seconds: float, kept: float) -> None:
    """Nobody stops the streams by asking for it over and over."""
    making = Making(seconds)
    assert making.scrape.text() == b"1"
    making.now += kept - 0.001
    assert making.scrape.text() == b"1"
    making.now += 0.002
    assert making.scrape.text() == b"2"


def test_a_short_text_is_always_new() -> None:
    """What has just happened is seen at once where that costs nothing."""
    making = Making(0.001)
    assert making.scrape.text() == b"1"
    assert making.scrape.text() == b"2"
