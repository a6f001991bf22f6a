"""The agent's link to an engine that closes connections when it likes."""

import asyncio

import pytest
from bench.processes import mock_engine

from garage_ai.node.engines.link import EngineLink

pytestmark = pytest.mark.anyio

BODY = b'{"model":"mock","stream":true,"max_tokens":4,"messages":[{"role":"user","content":"x"}]}'


async def test_an_engine_that_hangs_up_after_each_stream_loses_no_request() -> None:
    """llama.cpp and others close without saying so; no request that follows meets that."""
    # In a process of its own: in this loop its farewell would always come before the next request.
    async with mock_engine("--hang-up") as engine:
        link = EngineLink(f"http://127.0.0.1:{engine.port}")
        link.open()

        async def ask() -> bytes:
            answer = await link.post("chat", BODY)
            whole = b""
            while part := await answer.read():
                whole += part
            answer.close()
            return whole

        async def ask_often() -> list[bytes]:
            return [await ask() for _ in range(30)]

        try:
            answers = await asyncio.wait_for(
                asyncio.gather(*(ask_often() for _ in range(6))), timeout=30
            )
        finally:
            await link.close()
    assert all(b"[DONE]" in whole for each in answers for whole in each)
