"""`gai usage reconcile`: LiteLLM's usage and the gateway's, compared call by call."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from garage_ai.cli import output
from garage_ai.cli.litellm_client import litellm_client
from garage_ai.cli.litellm_words import say
from garage_ai.cli.moments import moment
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl

if TYPE_CHECKING:
    from garage_ai.cli.shapes import Difference

DIFFERENT: Final = 1
SETTLING: Final = timedelta(minutes=1)
_ALIKE: Final = ("equal", "recounted", "within_tolerance", "unserved", "unknown_end")


def reconcile(
    *,
    since: Annotated[
        datetime | None,
        typer.Option("--since", metavar="TIME", parser=moment, help=say("option.since")),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", metavar="TIME", parser=moment, help=say("option.until")),
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show each difference as it is found, then how much was compared."""
    known = litellm_client(gateway, api_key, data_dir)
    until = until or datetime.now(UTC) - SETTLING
    counts: Counter[str] = Counter()
    for page in known.compare_litellm(since, until):
        counts.update(page.counts)
        for each in page.differences:
            _show(each, as_json=as_json)
    different = sum(count for verdict, count in counts.items() if verdict not in _ALIKE)
    if as_json:
        summary = {"counts": dict(counts), "until": until, "different": different}
        output.write(msgspec.json.encode(summary).decode())
    else:
        output.remark(_summary(counts, different), style=None)
    if different:
        raise typer.Exit(DIFFERENT)


def _show(difference: "Difference", *, as_json: bool) -> None:
    """Print one line for each: there may be any number."""
    if as_json:
        output.write(msgspec.json.encode(difference).decode())
        return
    cells = (
        output.second(difference.at),
        difference.kind,
        f"{say('table.call')} {difference.call_id or '-'}",
        f"{say('table.request')} {difference.request_id or '-'}",
        difference.model,
        f"{say('table.litellm')}: {difference.litellm or '-'}",
        f"{say('table.gateway')}: {difference.gateway or '-'}",
    )
    output.write(output.harmless("  ".join(cells)).replace("\n", " "))


def _summary(counts: Counter[str], different: int) -> str:
    return say(
        "compared",
        calls=sum(counts.values()),
        equal=counts["equal"] + counts["recounted"],
        near=counts["within_tolerance"],
        unserved=counts["unserved"],
        unknown=counts["unknown_end"],
        different=different,
    )


__all__ = ["reconcile"]
