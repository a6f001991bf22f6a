"""The description at /openapi.json against the gateway that gives it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.parts.lent_engine import MODEL, Lent, lend
from tests.parts.product import Product

from garage_ai.gateway.errors import PROBLEMS

pytestmark = pytest.mark.slow

CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
OPERATIONS = 29
"""At least so many are described; fewer would mean that this test sees less than there is."""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    """A network of its own: what is tried here makes keys and tokens, and far too many failures."""
    folder = tmp_path_factory.mktemp("tried")
    with ExitStack() as stack:
        product = Product(folder, "--no-node")
        stack.callback(product.stop)
        product.start()
        yield lend(product, folder, stack)


@pytest.mark.timeout(180)
def test_answers_are_as_described(tried: Lent) -> None:
    """Whatever is asked, the answer's status, type and shape are documented; no 500 ever."""
    schema = schemathesis.openapi.from_url(f"{tried.product.url}/openapi.json")
    found = list(schema.get_all_operations())
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(operations) == len(found) >= OPERATIONS
    wrong = {}
    for operation in operations:
        try:
            try_operation(tried, operation)
        except Exception as error:
            wrong[operation.label] = error
    assert not wrong, "\n\n".join(f"{label}: {error}" for label, error in wrong.items())


def try_operation(tried: Lent, operation: "APIOperation[Any, Any, Any, Any]") -> None:
    """Ask an operation this and that, good and bad."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: "Case[Any]") -> None:
        if operation.path.startswith("/v1/") and isinstance(case.body, dict):
            # A made-up name would never get further than the table of models.
            case.body["model"] = MODEL
        response = case.call_and_validate(
            headers={"Authorization": f"Bearer {tried.product.key}"}, checks=CHECKS, timeout=20
        )
        if response.status_code >= 400 and response.content:
            error = response.json()["error"]
            assert PROBLEMS[error["code"]].status == response.status_code
            assert error["code"] != "internal_error"

    ask()


def test_every_code_is_described(tried: Lent) -> None:
    """The table of errors is in the description, whole."""
    described = tried.http.get("/openapi.json").json()
    assert {row["code"] for row in described["x-error-codes"]} == set(PROBLEMS)


def test_nothing_else_was_harmed(tried: Lent) -> None:
    """After all that the network serves, and its log holds no fault of its own."""
    tried.product.serves(MODEL)
    assert "request_failed" not in tried.product.log("gateway")
    assert "Traceback" not in tried.product.log("gateway")


def test_a_client_with_a_wrong_key_that_does_not_stop(tried: Lent) -> None:
    """It becomes RateLimitError with Retry-After; a right key from the same address works."""
    with tried.product.client("sk-wrong") as wrong:
        for _ in range(30):
            with pytest.raises((openai.AuthenticationError, openai.RateLimitError)) as raised:
                wrong.models.list()
    assert isinstance(raised.value, openai.RateLimitError)
    assert raised.value.code == "too_many_failures"
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 60
    assert tried.http.chat(MODEL).status == 200
