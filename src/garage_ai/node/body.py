"""The one change a node makes to a request: the model's name becomes the engine's own. Pure."""

from typing import Final

import msgspec

from garage_ai.node.errors import EngineProtocol

# Values stay as they are (`Raw` is checked, not built), so this costs microseconds; msgspec
# bounds the depth, and a key said twice is said once afterwards.
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_STREAMED: Final = {
    "stream": msgspec.Raw(b"true"),
    "stream_options": msgspec.Raw(b'{"include_usage":true}'),
}


def with_model(body: bytes, engine_name: str) -> bytes:
    """Put the engine's name for the model into a request body.

    Raises: EngineProtocol if the body is no JSON object.
    """
    fields = _fields(body)
    fields["model"] = msgspec.Raw(_encoder.encode(engine_name))
    return _encoder.encode(fields)


def streamed(body: bytes) -> bytes:
    """Ask for the same answer as a stream with usage at its end.

    Raises: EngineProtocol if the body is no JSON object.
    """
    return _encoder.encode(_fields(body) | _STREAMED)


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _objects.decode(body)
    except _UNDECODABLE as error:
        raise EngineProtocol(f"the request is no JSON object: {str(error)[:100]}") from error


__all__ = ["streamed", "with_model"]
