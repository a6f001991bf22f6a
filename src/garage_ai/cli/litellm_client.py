"""The gateway's API as far as it is about LiteLLM proxies."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from garage_ai.cli import shapes
from garage_ai.cli.client import Client
from garage_ai.cli.target import find_target


class LiteLlmClient(Client):
    """A client that also tells, maps and compares calls."""

    def tell_litellm(self, calls: list[object]) -> None:
        """Tell of calls that a LiteLLM proxy took."""
        self._ask("POST", "/api/v1/usage/litellm", shapes.Told, {"calls": calls})

    def compare_litellm(
        self, since: datetime | None, until: datetime | None
    ) -> Iterator[shapes.Compared]:
        """Compare LiteLLM's usage with the gateway's, a page at a time."""
        times = {"since": since, "until": until}
        query = {name: at.isoformat() for name, at in times.items() if at is not None}
        while True:
            path = f"/api/v1/usage/litellm/differences?{urlencode(query)}"
            page = self._ask("GET", path, shapes.Compared)
            yield page
            if page.after is None:
                return
            query["after"] = page.after

    def map_litellm(self, kind: str, value: str, member: str) -> shapes.CallMapping:
        """Say whose calls those of a LiteLLM key, user or team are."""
        body = {"kind": kind, "value": value, "member": member}
        return self._ask("POST", "/api/v1/litellm/mappings", shapes.CallMapping, body)

    def unmap_litellm(self, kind: str, value: str) -> shapes.CallMapping:
        """Take a mapping away."""
        path = f"/api/v1/litellm/mappings?{urlencode({'kind': kind, 'value': value})}"
        return self._ask("DELETE", path, shapes.CallMapping)

    def litellm_mappings(self) -> tuple[shapes.CallMapping, ...]:
        """List whose calls are whose."""
        return self._ask("GET", "/api/v1/litellm/mappings", shapes.CallMappings).data


def litellm_client(
    gateway: str | None, api_key: str | None, data_dir: Path | None
) -> LiteLlmClient:
    """Make the client for the gateway that the options mean. Raises: CliError."""
    return LiteLlmClient(find_target(gateway, api_key, data_dir))


__all__ = ["LiteLlmClient", "litellm_client"]
