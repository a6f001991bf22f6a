"""The table of errors, and how exceptions find their place in it."""

import importlib
import pkgutil
from types import ModuleType

import msgspec
import pytest

import garage_ai
from garage_ai.accounts import InvalidField, InvalidKey, RevokedKey
from garage_ai.gateway.errors import (
    PROBLEMS,
    Envelope,
    GatewayError,
    envelope,
    internal_error,
    problem_of,
)
from garage_ai.network.errors import DispatchError, NoNode
from garage_ai.storage import DiskFull, StorageFailed


def test_statuses_are_http() -> None:
    """Each row can be answered: status, meaning, remedy, stable code."""
    for code, problem in PROBLEMS.items():
        assert problem.code == code
        assert code.isidentifier()
        assert 400 <= problem.status < 600
        assert problem.status != 422
        assert problem.meaning.endswith(".")
        assert problem.remedy.endswith(".")
        assert (problem.type == "server_error") == (problem.status >= 500)


def _modules(*packages: str) -> list[ModuleType]:
    found = []
    for name in packages:
        package = importlib.import_module(f"{garage_ai.__name__}.{name}")
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if "errors" in each.name:
                found.append(importlib.import_module(each.name))
    return found


# What only the process itself meets, at its start or in the background.
_NOT_FOR_CLIENTS = {
    "account_error",
    "admin_key_unusable",
    "authority_damaged",
    "authority_error",
    "authority_locked",
    "claims_not_pushed",
    "dispatch_error",
    "enrolment_error",
    "foreign_account",
    "limit_reached",  # what limits say no with is one of its kinds
}


def test_every_typed_error_has_its_place() -> None:
    """No error that accounts, network or serving raise at a request is missing from the table."""
    codes = {
        code
        for module in _modules("accounts", "network", "serving")
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Exception)
        if isinstance(code := getattr(value, "code", None), str)
    }
    assert codes - set(PROBLEMS) - _NOT_FOR_CLIENTS == set()


def test_statuses_agree_with_the_network() -> None:
    """The network's own idea of a status is the table's."""
    for kind in _leaves(DispatchError):
        assert PROBLEMS[kind.code].status == kind.status


def _leaves(kind: type[DispatchError]) -> list[type[DispatchError]]:
    return [leaf for sub in kind.__subclasses__() for leaf in (sub, *_leaves(sub))]


def test_words_and_wait_pass() -> None:
    """A typed error keeps its words and how long to wait."""
    known = problem_of(NoNode("nobody", retry_after=2.5))
    assert known is not None
    assert (known.code, known.message, known.retry_after) == ("no_node", "nobody", 2.5)


@pytest.mark.parametrize(
    ("error", "status"), [(InvalidKey("x"), 401), (RevokedKey("x"), 401), (DiskFull("/data"), 503)]
)
def test_mapping(error: Exception, status: int) -> None:
    """Errors of other rooms become HTTP here alone."""
    known = problem_of(error)
    assert known is not None
    assert known.problem.status == status


def test_what_is_ours_stays_ours() -> None:
    """A database's words are not for clients."""
    known = problem_of(DiskFull("/home/anna/garage.db is full"))
    assert known is not None
    assert "anna" not in known.message


def test_field_is_named() -> None:
    """A field that accounts refuse is the envelope's param."""
    known = problem_of(InvalidField("region", "odd"))
    assert known is not None
    assert known.param == "region"


@pytest.mark.parametrize("error", [ValueError("x"), StorageFailed("x"), SystemExit("no_node")])
def test_faults(error: BaseException) -> None:
    """What is not in the table is a fault, even if it has a code that looks right."""
    error.code = getattr(error, "code", "no_node")  # type: ignore[attr-defined]
    assert problem_of(error) is None


def test_envelope() -> None:
    """The envelope is OpenAI's, with all four members."""
    written = msgspec.json.decode(envelope(GatewayError("no_node", param="model")), type=Envelope)
    assert written.error.code == "no_node"
    assert written.error.param == "model"
    assert set(msgspec.json.decode(envelope(GatewayError("no_node")))["error"]) == {
        "message",
        "type",
        "param",
        "code",
    }


def test_long_words_are_cut() -> None:
    """An error never grows beyond a page."""
    assert len(GatewayError("engine_rejected", "x" * 10_000).message) == 1000


def test_internal_error_says_only_where_to_look() -> None:
    """A fault tells its request id and nothing else."""
    assert "req_1" in internal_error("req_1").message
