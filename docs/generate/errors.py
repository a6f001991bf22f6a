"""The page of error codes, from the gateway's one table."""

from collections import Counter
from itertools import groupby

from docs.generate.markdown import code, page, table

from garage_ai.gateway.problems import PROBLEMS, Problem


def _shown(status: int, problems: list[Problem]) -> str:
    rows = [(code(each.code), each.meaning, each.remedy) for each in problems]
    return f"## {status}\n\n{_types(problems)}\n\n{table(['code', 'meaning', 'what to do'], rows)}"


def _types(problems: list[Problem]) -> str:
    """Say the type that most have, and which have another."""
    usual = Counter(each.type for each in problems).most_common(1)[0][0]
    others = [f"`{each.type}` for `{each.code}`" for each in problems if each.type != usual]
    return ", ".join([f"Type `{usual}`", *others]) + "."


_INTRO = """
Every error answer, on `/v1` and on `/api/v1`, has OpenAI's envelope:

```json
{
  "error": {
    "message": "The model 'gpt-4' does not exist.",
    "type": "invalid_request_error",
    "param": "model",
    "code": "model_not_found"
  }
}
```

`code` is stable: programs may rely on it. `message` is for people and may change. `param` names the
field that is wrong, where there is one. Where waiting helps, `Retry-After` says how many seconds.
Every answer has an `x-request-id`, which the gateway's log and the usage records know too.

In a stream that has begun the status can no longer change. The same object then comes as an event,
`data: {"error": …}`, and the stream ends without `[DONE]`.
"""


def made() -> str:
    """Write the page."""
    by_status = groupby(PROBLEMS.values(), key=lambda problem: problem.status)
    tables = [_shown(status, list(problems)) for status, problems in by_status]
    return page("Error codes", "src/garage_ai/gateway/problems.py", _INTRO, *tables)
