"""The page of metrics: what a scrape shows after one of everything has happened."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from docs.generate.absent import ABSENT
from docs.generate.markdown import code, page, table
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from garage_ai.accounts import KeyId, MemberId
from garage_ai.gateway.batch_worker import watch_worker
from garage_ai.gateway.batching import watch_batches
from garage_ai.gateway.certificate import watch_certificate
from garage_ai.gateway.counting import watch_counts
from garage_ai.gateway.economy import watch_economy
from garage_ai.gateway.metrics import Metrics
from garage_ai.gateway.process import _watch, _watch_audit
from garage_ai.storage import UsagePart, UsageRecord

_INTRO = """
`GET /metrics` gives these in Prometheus's text format and needs no key: no label names a key, a
member, a node or anything a client wrote. Names beginning with `gen_ai` follow OpenTelemetry's
conventions for generative AI; `gai_priority` keeps chat's latencies apart from those of batches.
Keep the address to yourself with a proxy if you want it private.
"""

_LABELS: Final = {
    "code": "one of the [error codes](errors.md)",
    "error_type": "empty for a whole answer, else how it ended",
    "gai_priority": "`chat` for what somebody waits for, `batch` for the lines of batches",
    "gen_ai_operation_name": "`chat`, `text_completion`, `embeddings`",
    "gen_ai_request_model": (
        "a model of the catalogue, or one of the first 50 others that a node answered for, else "
        "`other`"
    ),
    "gen_ai_token_type": "`input`, `output`",
    "reason": (
        "of lost usage `queue_full`, `refused`, `closed`; of counts `counted`, `absent`, "
        "`refused`, `late`, `overloaded`, `broken`; of moves how the node before it ended"
    ),
    "state": "`joining`, `ready`, `dedicated`, `busy`, `draining`, `paused`, `suspect`, `gone`",
}
_QUESTIONS: Final = (
    (
        "How long is the wait for the first token, at the 95th percentile?",
        (
            "histogram_quantile(0.95, sum by (le) "
            '(rate(gen_ai_server_time_to_first_token_seconds_bucket{gai_priority="chat"}[5m])))'
        ),
    ),
    (
        "How many requests fail, and how?",
        (
            "sum by (error_type, gai_priority) "
            '(rate(gen_ai_server_request_duration_seconds_count{error_type!=""}[5m]))'
        ),
    ),
    ("Is anybody there to work?", 'gai_nodes{state="ready"}'),
    ("Do clients wait for a free node?", "gai_requests_waiting"),
    ("Is usage being lost?", "increase(gai_usage_dropped_total[1h]) > 0"),
)
_INNER: Final = frozenset({"le", "quantile"})


def made() -> str:
    """Write the page."""
    families = sorted(_families(), key=lambda family: family.name)
    rows = [
        (code(_name(each)), each.type, ", ".join(map(code, _labels(each))), each.documentation)
        for each in families
    ]
    used = sorted({label for family in families for label in _labels(family)})
    return page(
        "Metrics",
        "src/garage_ai/gateway/metrics.py",
        _INTRO,
        table(["metric", "kind", "labels", "meaning"], rows),
        "## Labels\n\n" + table(["label", "values"], [(code(n), _LABELS[n]) for n in used]),
        "## Questions they answer\n\n"
        + table(["question", "expression"], [(ask, code(query)) for ask, query in _QUESTIONS]),
    )


def _families() -> Iterator[Metric]:
    metrics = Metrics()
    _watch(metrics, ABSENT, ABSENT, ABSENT, ABSENT)
    _watch_audit(metrics, ABSENT)
    watch_economy(metrics, ABSENT, ABSENT, ABSENT, ABSENT, usage=ABSENT)
    watch_counts(metrics, ABSENT, ABSENT)
    watch_batches(metrics, ABSENT)
    watch_worker(metrics, ABSENT)
    watch_certificate(metrics, ABSENT)
    metrics.counted("counted")
    metrics.observe(_record())
    metrics.auth_failed()
    metrics.usage_dropped(1, "closed")
    metrics.error_answered("no_node")
    text = metrics.render().decode()
    # The moment at which a series began comes as a series of its own; nobody looks for it here.
    found = text_string_to_metric_families(text)
    return (each for each in found if not each.name.endswith("_created"))


def _record() -> UsageRecord:
    return UsageRecord(
        request_id="req_1",
        at=datetime(2026, 11, 1, tzinfo=UTC),
        member=MemberId("mbr_operator"),
        key_id=KeyId("key_1"),
        route="chat",
        model="garage-chat",
        digest=None,
        node="nabcdefghijkl",
        outcome="ok",
        stream=True,
        prompt_tokens=1,
        completion_tokens=1,
        content_events=1,
        bytes_out=1,
        ttft_s=0.1,
        duration_s=0.2,
        attempts=2,
        parts=(
            UsagePart("nabcdefghijkl", "sha256:0", None, None, 1, "node_lost", None),
            UsagePart("nabcdefghijkm", "sha256:0", 1, 1, 1, "ok", 0.1),
        ),
    )


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> list[str]:
    names = {label for sample in family.samples for label in sample.labels}
    return sorted(names - _INNER)
