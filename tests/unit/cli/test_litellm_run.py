"""A running LiteLLM is started again for what it does not know."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from garage_ai.cli import litellm_run, shapes
from garage_ai.cli.errors import Unreachable
from garage_ai.cli.litellm_client import LiteLlmClient
from garage_ai.cli.target import Target
from garage_ai.integrations.litellm import CONFIG, Environment

pytestmark = pytest.mark.anyio

GATEWAY: Final = Target("http://127.0.0.1:1", "127.0.0.1", 1, "gai_x")


class PlayedClient(LiteLlmClient):
    """A gateway that serves one model after another, or at another price."""

    def __init__(self) -> None:
        super().__init__(GATEWAY)
        self.served: dict[str, str] = {"small": "830000"}
        self.is_away = False

    def models(self) -> tuple[shapes.Model, ...]:
        """List what is served now."""
        if self.is_away:
            raise Unreachable("nobody answers")
        return tuple(
            shapes.Model(name, shapes.ModelExtra(price=shapes.ModelPrice("120000", price)))
            for name, price in self.served.items()
        )


class Watched(litellm_run._Proxy):
    """LiteLLM, of which nothing runs but the watch over it."""

    def __init__(self, folder: Path, client: PlayedClient, *, restart: bool) -> None:
        environment = Environment(folder / "environment")
        plan = litellm_run.Plan(client, folder, folder, "127.0.0.1", 4000, restart, None)
        super().__init__(plan, environment, {})
        self._configure()

    async def watch(self, seconds: float) -> bool:
        """Watch for a while; True when it is to start again."""
        signalled = asyncio.create_task(self._signalled.wait())
        asyncio.get_running_loop().call_later(seconds, self._signalled.set)
        never: asyncio.Task[int] = asyncio.create_task(asyncio.sleep(60, 0))
        try:
            return await self._watch(never, signalled)
        finally:
            never.cancel()
            signalled.cancel()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and start again at once."""
    monkeypatch.setattr(litellm_run, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(litellm_run, "RESTART_SECONDS", 0.0)


async def test_a_price_that_was_set_reaches_litellm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is started again, and its configuration has the new price."""
    client = PlayedClient()
    proxy = Watched(tmp_path, client, restart=True)
    assert "output_cost_per_token: 0.00000083" in (tmp_path / CONFIG).read_text()
    client.served["small"] = "990000"
    assert await proxy.watch(20)
    assert "other prices for small" in capsys.readouterr().err
    proxy._configure()
    assert "output_cost_per_token: 0.00000099" in (tmp_path / CONFIG).read_text()


async def test_without_a_restart_a_change_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once for a price and once for a model, however often it is looked."""
    client = PlayedClient()
    proxy = Watched(tmp_path, client, restart=False)
    client.served = {"small": "990000", "large": "1"}
    assert not await proxy.watch(0.3)
    told = capsys.readouterr().err
    assert (told.count("other prices for small"), told.count("serves large")) == (1, 1)


async def test_a_model_that_went_away_stays_listed(tmp_path: Path) -> None:
    """Also over a start for another one; its return is no change."""
    client = PlayedClient()
    proxy = Watched(tmp_path, client, restart=True)
    client.served = {"large": "1"}
    assert await proxy.watch(20)
    proxy._configure()
    assert "garage-ai/small" in (tmp_path / CONFIG).read_text()
    client.served["small"] = "830000"
    assert not await proxy.watch(0.2)


async def test_a_gateway_that_is_away_keeps_nobody_from_starting_again(tmp_path: Path) -> None:
    """LiteLLM was stopped for a new model and comes back as it was; a later look finds more."""
    client = PlayedClient()
    proxy = Watched(tmp_path, client, restart=True)
    client.served["large"] = "1"
    assert await proxy.watch(20)
    client.is_away = True
    proxy._configure()
    assert "garage-ai/small" in (tmp_path / CONFIG).read_text()
    client.is_away = False
    assert await proxy.watch(20)
    proxy._configure()
    assert "garage-ai/large" in (tmp_path / CONFIG).read_text()


async def test_a_gateway_that_was_never_there_is_told(tmp_path: Path) -> None:
    """Without a configuration there is nothing to start with."""
    client = PlayedClient()
    client.is_away = True
    with pytest.raises(Unreachable):
        Watched(tmp_path, client, restart=True)


async def test_litellm_does_not_read_the_gateways_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit gives both the same settings, and LiteLLM is other people's program."""
    monkeypatch.setenv("GAI_DATABASE_URL", "postgresql://garage:secret@db/garage")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    environ = Watched(tmp_path, PlayedClient(), restart=True)._environ()
    assert not [value for value in environ.values() if "secret" in value]
    assert (environ["GAI_GATEWAY"], environ["HTTPS_PROXY"]) == (GATEWAY.url, "http://proxy")
