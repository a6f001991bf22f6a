"""What Prometheus may read: names after OpenTelemetry's conventions for generative AI.

No label holds anything a client wrote: models are named if the catalogue has them, or a node has
answered for them, all others are `other`. No label names a key, a member or a node, so /metrics
needs no key. What the conventions have no name for, the priority of a request, is an attribute of
our own: a batch request waits for hours where a chat waits for milliseconds.
"""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from garage_ai.gateway.histograms import Histogram, Series
from garage_ai.network.continuation import PREEMPTED
from garage_ai.network.models import Census, NodeState
from garage_ai.storage import UsageRecord
from garage_ai.wire.frames import Priority

# The buckets that OpenTelemetry's conventions advise.
_SECONDS: Final = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)
_FIRST_SECONDS: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
_GAP_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

_PRIORITY: Final = "gai_priority"
_REQUEST: Final = ("gen_ai_operation_name", "gen_ai_request_model", _PRIORITY)
_OPERATIONS: Final = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
_STATES: Final = get_args(NodeState)
MAX_OWN: Final = 50
"""Models beyond the catalogue that are named: each may cost a scrape 60 kB."""
QUICK_SECONDS: Final = 0.003
REST: Final = 20
"""A text that took longer to make is given again for so many times as long as that took."""
MOST_SECONDS: Final = 5.0
OTHER: Final = "other"


class _Series(NamedTuple):
    """Where the requests of one kind are counted."""

    duration: Series
    first: Series
    prompt: Series
    completion: Series


class Metrics:
    """Count what happens; cheap enough for every request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._in_catalogue: Callable[[str], bool] = lambda _: False
        self._own: set[str] = set()
        # Looking series up by their labels would cost more than counting.
        self._series: dict[tuple[str, str, str, Priority], _Series] = {}
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from the request's admission to the end of its answer.",
            (*_REQUEST, "error_type"),
            bounds=_SECONDS,
        )
        self._first = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a stream's admission to its first content; plain answers have none.",
            _REQUEST,
            bounds=_FIRST_SECONDS,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a request, as the engine says.",
            (*_REQUEST, "gen_ai_token_type"),
            bounds=_TOKENS,
        )
        self._retries = Counter(
            "gai_retries",
            "Attempts beyond a request's first.",
            (_PRIORITY,),
            registry=self.registry,
        )
        self._moves = Counter(
            "gai_stream_moves",
            "Streams that went on at another node, by what became of the one before.",
            ("reason", _PRIORITY),
            registry=self.registry,
        )
        self._gaps = Histogram(
            "gai_stream_gap_seconds",
            "Time between the last words of one node and the first of the next.",
            (_PRIORITY,),
            bounds=_GAP_SECONDS,
        )
        self._usage_dropped = Counter(
            "gai_usage_dropped",
            "Usage records that could not be kept.",
            ("reason",),
            registry=self.registry,
        )
        self._counts = Counter(
            "gai_counts",
            "Requests by how their tokens were counted: by the tokenizer (`counted`), or by the "
            "rule, and why.",
            ("reason",),
            registry=self.registry,
        )
        self._counted: dict[str, Counter] = {}
        self._auth_failures = Counter(
            "gai_auth_failures", "Wrong keys and tokens.", registry=self.registry
        )
        self._answers = Counter(
            "gai_http_errors",
            "Error answers of the HTTP edge, by code.",
            ("code",),
            registry=self.registry,
        )

    def observe(self, record: UsageRecord, priority: Priority = "chat") -> None:
        """Count one finished request."""
        kind = (record.route, self._model(record), record.outcome, priority)
        series = self._series.get(kind) or self._series.setdefault(kind, self._find(*kind))
        series.duration.observe(record.duration_s)
        if record.ttft_s is not None:
            series.first.observe(record.ttft_s)
        if record.prompt_tokens is not None:
            series.prompt.observe(record.prompt_tokens)
        if record.completion_tokens is not None:
            series.completion.observe(record.completion_tokens)
        if record.attempts > 1:
            self._retries.labels(priority).inc(record.attempts - 1)
        for before, part in pairwise(record.parts):
            if before.outcome == PREEMPTED:
                continue  # it had time: where it waited is nobody's silence
            self._moves.labels(before.outcome, priority).inc()
            if part.gap_s is not None:
                self._gaps.labels(priority).observe(part.gap_s)

    def observe_batch(self, record: UsageRecord) -> None:
        """Count one finished request of a batch."""
        self.observe(record, "batch")

    def _find(self, route: str, model: str, outcome: str, priority: Priority) -> "_Series":
        request = (_OPERATIONS.get(route, OTHER), model, priority)
        error = "" if outcome == "ok" else outcome
        return _Series(
            self._duration.labels(*request, error),
            self._first.labels(*request),
            self._tokens.labels(*request, "input"),
            self._tokens.labels(*request, "output"),
        )

    def _model(self, record: UsageRecord) -> str:
        """Name a model of the catalogue, and of others those that a node answered for first."""
        model = record.model
        if model in self._own or self._in_catalogue(model):
            return model
        if record.node is None or len(self._own) >= MAX_OWN:
            return OTHER
        self._own.add(model)
        return model

    def auth_failed(self) -> None:
        """Count a wrong key or token."""
        self._auth_failures.inc()

    def counted(self, reason: str) -> None:
        """Count how the tokens of a request were counted."""
        known = self._counted.get(reason)
        if known is None:
            known = self._counted[reason] = self._counts.labels(reason)
        known.inc()

    def usage_dropped(self, count: int, reason: str) -> None:
        """Count usage records that are lost."""
        self._usage_dropped.labels(reason).inc(count)

    def error_answered(self, code: str) -> None:
        """Count an error answer; `code` is one of the table's."""
        self._answers.labels(code).inc()

    def watch_nodes(self, census: Callable[[], Census]) -> None:
        """Count the nodes at every scrape."""
        self.registry.register(_Nodes(census))

    def name_all_of(self, in_catalogue: Callable[[str], bool]) -> None:
        """Name every model of the catalogue, however many others there are."""
        self._in_catalogue = in_catalogue

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Read a value at every scrape."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Read at every scrape what only grows; `_total` is added to the name."""
        self.registry.register(_Counted(name, meaning, read))

    def render(self) -> bytes:
        """Write all of it in Prometheus's text format."""
        histograms = (self._duration, self._first, self._tokens, self._gaps)
        return generate_latest(self.registry) + "".join(h.text() for h in histograms).encode()


class _Counted(Collector):
    """What is counted elsewhere."""

    def __init__(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._name = name
        self._meaning = meaning
        self._read = read

    def describe(self) -> list[Metric]:
        """Name it, so that no other takes its name; registering reads nothing."""
        return [CounterMetricFamily(self._name, self._meaning)]

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        yield CounterMetricFamily(self._name, self._meaning, value=self._read())


class _Nodes(Collector):
    """Nodes by state, and what runs on them."""

    def __init__(self, census: Callable[[], Census]) -> None:
        self._census = census

    def describe(self) -> list[Metric]:
        """Name nothing beforehand, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Count the nodes."""
        census = self._census()
        by_state = GaugeMetricFamily("gai_nodes", "Nodes by state.", labels=("state",))
        for state in _STATES:
            by_state.add_metric((state,), census.states.get(state, 0))
        yield by_state
        yield GaugeMetricFamily(
            "gai_requests_running", "Requests at nodes now.", value=census.inflight
        )


class Scrape:
    """The text of a scrape: however often it is asked for, its making leaves time for all else.

    `busy` counts the seconds that this thread works, `clock` those that pass.
    """

    def __init__(
        self,
        render: Callable[[], bytes],
        *,
        busy: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._render = render
        self._busy = busy
        self._clock = clock
        self._text = b""
        self._good_until = float("-inf")

    def text(self) -> bytes:
        """Give the text, made now or a moment ago."""
        if self._clock() >= self._good_until:
            began = self._busy()
            self._text = self._render()
            took = self._busy() - began
            rest = min(REST * took, MOST_SECONDS) if took > QUICK_SECONDS else 0.0
            self._good_until = self._clock() + rest
        return self._text


__all__ = ["Metrics", "Scrape"]
