"""Whose fault it is that llama.cpp failed."""

import json

import pytest

from garage_ai.node.engines.complaints import rejection


def said(message: str) -> bytes:
    """Write what llama.cpp answers with its status 500."""
    return json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}).encode()


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("image input is not supported - hint: if this is unexpected", "images"),
        ("audio input is not supported - hint: if this is unexpected", "audio"),
        ('Failed to parse tools: Unsupported tool type: {"type":"SECRET"}; tools = []', "function"),
        ('Failed to parse tools: Missing tool function: {"SECRET":1}', "tools"),
        ('Failed to parse messages: Unsupported tool call type: {"id":"SECRET"}', "tool calls"),
        ("Failed to parse messages: type must be string, but is SECRET", "messages"),
    ],
)
def test_what_the_request_is_to_blame_for_is_rejected(message: str, meaning: str) -> None:
    """The thing is named, and nothing of the request is quoted."""
    rejected = rejection(said(message))
    assert rejected is not None
    error = json.loads(rejected)["error"]
    assert (error["code"], error["type"]) == (400, "invalid_request_error")
    assert meaning in error["message"]
    assert b"SECRET" not in rejected


@pytest.mark.parametrize("body", [said("out of memory"), b"", b"{}", b"[" * 10_000, b"\xff"])
def test_an_engine_that_is_ill_is_not_excused(body: bytes) -> None:
    """What is not known to be the request's fault stays the engine's."""
    assert rejection(body) is None
