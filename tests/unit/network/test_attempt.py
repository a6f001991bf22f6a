"""What an attempt makes of a node's words, by the moment at which they come."""

import pytest

from garage_ai.network.attempt import OUT_OF_TIME, Attempt, Limits
from garage_ai.network.plan import blame
from garage_ai.network.replies import StreamReader
from garage_ai.wire.frames import Accepted, Data, Fail, Head, Packet
from garage_ai.wire.ids import AttemptId, NodeId

LIMITS = Limits(accepted=3.0, first_byte=10.0, silence=5.0, total=20.0)
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


@pytest.mark.parametrize(
    ("at", "code", "blamed"), [(19.9, "engine_timeout", "failure"), (20.0, OUT_OF_TIME, "none")]
)
def test_a_node_that_is_first_to_see_that_the_time_is_over(
    at: float, code: str, blamed: str
) -> None:
    """An answer of any length may be asked for: no node is to blame for that, whoever says it."""
    attempt = Attempt(
        AttemptId("a"),
        NodeId("n"),
        body=b"{}",
        reader=StreamReader(include_usage=False),
        limits=LIMITS,
        max_answer=1 << 20,
        now=0.0,
    )
    said = Packet(attempt.id, 0, (Accepted(), Head(200, ""), Data(WORD)))
    assert attempt.received(said, 1.0).verdict is None
    verdict = attempt.received(Packet(attempt.id, 1, (Fail("engine_timeout"),)), at).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.code) == ("timeout", code)
    assert blame(verdict, committed=True) == blamed
