"""Why a request got no (whole) answer.

DispatchError                 code                 HTTP   whose fault
├── UnknownModel              model_not_found      404    the client's
├── WrongKind                 model_kind           400    the client's: no chat of an embedder
├── NoNode                    no_node              503    nobody serves it now
├── NatsUnavailable           nats_unavailable     503    the gateway has no link to its nodes
├── NoCapacity                no_capacity          503    all are busy
├── ModelLoading              model_loading        503    an engine is still loading
├── RegionUnavailable         region_unavailable   503    none in the region asked for
├── EngineRejected            engine_rejected      400    the client's, as the engine says
├── ContextLengthExceeded     context_length_exceeded 400 the client's
├── EngineFailed              engine_error         502    the engine's
│   └── EngineFull            engine_error         502    nobody's: it takes no more just now
├── NodeLost                  node_lost            502    the node's
│   ├── NodeYielded           node_lost            502    nobody's: its owner took it back
│   └── NodeUnheard           node_lost            502    nobody's: a link, or a new session
├── BadNodeReply              bad_node_reply       502    the node's
├── ContinuationUnsound       continuation_unsound 502    the node's; another cannot go on
├── NodeTimeout               timeout              504    the node's
└── ClientGone                client_closed        499    the client's
"""


class DispatchError(Exception):
    """Base of what ends a request; `retry_after` in seconds where trying again may help.

    `is_nobodys` tells that the same request may well be answered the next time: neither it nor who
    ran it was at fault. `has_no_room` tells that an engine said so itself.
    """

    code = "dispatch_error"
    status = 500
    type = "server_error"
    param: str | None = None
    is_nobodys = False
    has_no_room = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class UnknownModel(DispatchError):
    code = "model_not_found"
    status = 404
    type = "invalid_request_error"
    param = "model"


class WrongKind(DispatchError):
    code = "model_kind"
    status = 400
    type = "invalid_request_error"
    param = "model"


class NoNode(DispatchError):
    code = "no_node"
    status = 503


class NatsUnavailable(DispatchError):
    code = "nats_unavailable"
    status = 503


class NoCapacity(DispatchError):
    code = "no_capacity"
    status = 503


class ModelLoading(DispatchError):
    code = "model_loading"
    status = 503


class RegionUnavailable(DispatchError):
    code = "region_unavailable"
    status = 503


class EngineRejected(DispatchError):
    code = "engine_rejected"
    status = 400
    type = "invalid_request_error"


class ContextLengthExceeded(EngineRejected):
    code = "context_length_exceeded"


class EngineFailed(DispatchError):
    code = "engine_error"
    status = 502


class EngineFull(EngineFailed):
    """The engine has too much to do, or is not up yet: who can wait finds room another time."""

    has_no_room = True


class NodeLost(DispatchError):
    code = "node_lost"
    status = 502


class NodeYielded(NodeLost):
    """What ran was handed back, and nobody went on with it."""

    is_nobodys = True


class NodeUnheard(NodeLost):
    """What ran was lost with the gateway's own link, or with a process that its node replaced."""

    is_nobodys = True


class BadNodeReply(DispatchError):
    code = "bad_node_reply"
    status = 502


class ContinuationUnsound(DispatchError):
    code = "continuation_unsound"
    status = 502


class NodeTimeout(DispatchError):
    code = "timeout"
    status = 504


class ClientGone(DispatchError):
    code = "client_closed"
    status = 499
