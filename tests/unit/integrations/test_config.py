"""LiteLLM's configuration: every trap of it has its line."""

import pytest

from garage_ai.integrations.litellm import CALLBACK, Prices, Served, callback_source, config

URL = "https://gateway.example"


def test_every_model_is_there_once_by_its_name() -> None:
    """As `openai/NAME`: with `hosted_vllm/` LiteLLM would run batches by itself."""
    text = config(URL, [Served("b"), Served("garage-chat"), Served("b")])
    assert text.count('model: "openai/b"') == 1
    assert 'model_name: "garage-chat"' in text
    assert "hosted_vllm" not in text
    assert f'api_base: "{URL}/v1"' in text


@pytest.mark.parametrize(
    "line",
    [
        "      api_key: os.environ/GAI_API_KEY",
        "      timeout: 600",
        "      stream_timeout: 120",
        "      max_retries: 0",
        "      disable_background_health_check: true",
        "  disable_cooldowns: true",
        "  callbacks: [garage_ai_litellm.handler]",
        "  master_key: os.environ/LITELLM_MASTER_KEY",
        "  cancel_on_disconnect: true # a client that leaves frees its node",
        "  background_health_checks: false",
    ],
)
def test_what_litellm_does_by_itself_is_turned_off(line: str) -> None:
    """Retries, long waits, completions as health checks, cooldowns; and no secret is written."""
    assert line in config(URL, [Served("m")]).splitlines()


@pytest.mark.parametrize(
    ("prices", "prompt", "completion"),
    [
        (Prices(1_000_000, 2_500_000), "0.000001", "0.0000025"),
        (Prices(1, 999_999_999_999), "0.000000000001", "0.999999999999"),
        (Prices(0, 0), "0.0", "0.0"),
    ],
)
def test_prices_are_gai_per_token(prices: Prices, prompt: str, completion: str) -> None:
    """To the last nGAI, and never in a notation that YAML takes for text."""
    text = config(URL, [Served("m", prices=prices)])
    assert f"      input_cost_per_token: {prompt}\n" in text
    assert f"      output_cost_per_token: {completion}\n" in text


def test_a_models_own_price_comes_first() -> None:
    """What is said on the command line is for models without one; without any it costs nothing."""
    models = [Served("a", prices=Prices(1_000_000, 1_000_000)), Served("b")]
    said = config(URL, models, Prices(2_000_000, 2_000_000))
    assert said.count("input_cost_per_token: 0.000001\n") == 1
    assert said.count("input_cost_per_token: 0.000002\n") == 1
    assert "no price is known" in config(URL, models)


@pytest.mark.parametrize("name", ['a"b', "a: b", "å/ä", "a\\b", "#x", "- x"])
def test_any_name_is_quoted(name: str) -> None:
    """A member's own server may serve under any name."""
    lines = config(URL, [Served(name)]).splitlines()
    [line] = [each for each in lines if "model_name" in each]
    quoted = line.partition(": ")[2]
    assert quoted == '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_a_name_that_is_a_pattern_is_left_out() -> None:
    """To LiteLLM `*` is every model: one member's server would take all calls."""
    assert "model_list: []" in config(URL, [Served("*"), Served("gpt-*")])


def test_the_callback_bears_the_name_that_the_configuration_calls() -> None:
    """LiteLLM imports it from beside the configuration."""
    assert CALLBACK == "garage_ai_litellm.py"
    assert f'__name__ == "{CALLBACK.removesuffix(".py")}"' in callback_source()
