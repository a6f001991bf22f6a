"""Limits as the official client meets them at a whole network."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.parts.lent_engine import MODEL, Lent

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
COUNTED_SECONDS = 30.0
HEADERS = ("limit", "remaining", "reset")


def client(lent: Lent, limits: Mapping[str, object]) -> openai.OpenAI:
    """Make the official client with a new key that has limits."""
    key = lent.product.new_key(limits=limits)["key"]
    return lent.product.client(key)


def ask(asked: openai.OpenAI, **more: object) -> str | None:
    """Ask for an answer."""
    answer = asked.chat.completions.create(model=MODEL, messages=HELLO, **more)  # type: ignore[call-overload]
    text: str | None = answer.choices[0].message.content
    return text


def test_the_headers_of_a_limited_key(lent: Lent) -> None:
    """Every answer tells what is left of requests and tokens, as OpenAI's do."""
    with client(lent, {"rpm": 3, "tpm": 100_000}) as asked:
        raw = asked.chat.completions.with_raw_response.create(
            model=MODEL, messages=HELLO, max_tokens=50
        )
        with asked.chat.completions.with_streaming_response.create(
            model=MODEL, messages=HELLO, stream=True
        ) as stream:
            streamed = stream.headers
    shown = [raw.headers[f"x-ratelimit-{name}-requests"] for name in HEADERS]
    assert shown[:2] == ["3", "2"]
    assert shown[2] in {"1m0s", "1m1s"}
    assert raw.headers["x-ratelimit-limit-tokens"] == "100000"
    assert 99_000 < int(raw.headers["x-ratelimit-remaining-tokens"]) < 100_000
    assert streamed["x-ratelimit-remaining-requests"] == "1"


def test_a_key_without_limits_is_told_nothing(lent: Lent) -> None:
    """The admin key has none by default, and no header speaks of any."""
    with lent.product.client() as asked:
        raw = asked.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    assert [name for name in raw.headers if name.startswith("x-ratelimit")] == []


def test_too_many_requests(lent: Lent) -> None:
    """The client's own RateLimitError, with the limit's name and the time to come again."""
    with client(lent, {"rpm": 2}) as asked:
        assert ask(asked)
        assert ask(asked)
        with pytest.raises(openai.RateLimitError, match="2 requests per minute") as caught:
            asked.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert 50 <= int(error.response.headers["retry-after"]) <= 61
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_streams_at_a_time(lent: Lent) -> None:
    """A stream has its slot until its client leaves; one that waits gets it by trying again."""
    lent.engine.set(chunks=4000, chunk_delay=0.01)
    key = lent.product.new_key(limits={"streams": 1})["key"]
    with lent.product.client(key) as one:
        stream = one.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        with pytest.raises(openai.RateLimitError, match="1 requests at a time"):
            ask(one)
        stream.close()
    lent.engine.set(chunks=4, chunk_delay=0.0)
    with lent.product.client(key) as one:
        assert ask(one.with_options(max_retries=3))


def test_tokens_a_minute(lent: Lent) -> None:
    """The worst case is held and corrected at the end; what can never fit is refused for good."""
    with client(lent, {"tpm": 1_000}) as asked:
        assert ask(asked, max_tokens=400)
        # The first may still be counted when this comes; who tries again gets in.
        assert ask(asked.with_options(max_retries=3), max_tokens=450)
        with pytest.raises(openai.RateLimitError, match="1000 tokens per minute") as caught:
            ask(asked, max_tokens=1_001)
    assert "retry-after" not in caught.value.response.headers


def test_a_budget_of_the_day(lent: Lent) -> None:
    """Used up it refuses until midnight, UTC."""
    with client(lent, {"daily_tokens": 1}) as asked:
        assert ask(asked, max_tokens=5)
        deadline = time.monotonic() + COUNTED_SECONDS
        while (wait := until_again(asked)) < 60 and time.monotonic() < deadline:
            time.sleep(0.1)  # held, and not counted yet: it may turn out to have cost nothing
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert abs(wait - (midnight - now).total_seconds()) < 60


def until_again(asked: openai.OpenAI) -> int:
    """Be refused for the budget, and give the seconds until another try makes sense."""
    with pytest.raises(openai.RateLimitError) as caught:
        ask(asked, max_tokens=5)
    assert caught.value.code == "budget_exceeded"
    return int(caught.value.response.headers["retry-after"])


def test_models_that_a_key_may_use(lent: Lent) -> None:
    """It sees no others and gets no others, by their names or by the alias."""
    with client(lent, {"models": ["other"]}) as asked:
        assert [model.id for model in asked.models.list()] == []
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(asked)
        with pytest.raises(openai.NotFoundError):
            asked.models.retrieve(MODEL)
        with pytest.raises(openai.InternalServerError) as nobody:
            asked.chat.completions.create(model="garage-chat", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_forbidden", "model")
    assert nobody.value.code == "no_node"
    for name in ("garage-chat", MODEL):
        with client(lent, {"models": [name]}) as asked:
            assert asked.chat.completions.create(model="garage-chat", messages=HELLO).choices


def test_an_expired_key(lent: Lent) -> None:
    """It is refused everywhere, and works again when its moment is moved."""
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    made = lent.product.new_key(limits={"expires_at": past})
    with lent.product.client(made["key"]) as asked:
        with pytest.raises(openai.AuthenticationError) as caught:
            asked.models.list()
        assert caught.value.code == "expired_api_key"
        path = f"/api/v1/keys/{made['id']}/limits"
        assert lent.product.http.ask("PATCH", path, {"expires_at": None}).status == 200
        assert ask(asked)


def test_regions_that_may_answer(lent: Lent) -> None:
    """A region that is not allowed is refused; without a wish, only an allowed one answers."""
    with client(lent, {"regions": ["SE-C", "SE-M"]}) as asked:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(asked, extra_headers={"x-gai-region": "SE-AB"})
        with pytest.raises(openai.InternalServerError) as nobody:
            ask(asked)
    assert caught.value.code == "region_forbidden"
    assert nobody.value.code == "region_unavailable"


def test_limits_by_command(lent: Lent) -> None:
    """`gai key create` and `gai key limit` set them, and show what was used."""
    gai = lent.product.gai
    made = gai("key", "create", "--name", "limited", "--rpm", "1", "--daily-gai", "0.5")
    with lent.product.client(made["key"]) as asked:
        assert ask(asked)
        with pytest.raises(openai.RateLimitError):
            ask(asked)
        gai("key", "limit", made["id"], "--rpm", "off")
        assert ask(asked)
    shown = gai("key", "limit", made["id"])
    assert (shown["limits"]["rpm"], shown["limits"]["daily_gai"]) == (None, "500000000")
