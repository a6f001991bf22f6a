"""The table of errors: every one that a client can meet, once.

The documentation and the OpenAPI description are made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ErrorType = Literal["invalid_request_error", "permission_error", "rate_limit_error", "server_error"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of the table of errors: `meaning` says what it is, `remedy` what to do."""

    code: str
    status: int
    type: ErrorType
    meaning: str
    remedy: str


def _rows(status: int, kind: ErrorType, *rows: tuple[str, str, str]) -> list[Problem]:
    return [Problem(code, status, kind, meaning, remedy) for code, meaning, remedy in rows]


_TABLE: Final = (
    *_rows(
        400,
        "invalid_request_error",
        ("invalid_http", "The bytes sent are not HTTP/1.1.", "Check the client or the proxy."),
        ("invalid_json", "The body is not JSON in UTF-8, or no object.", "Send a JSON object."),
        ("json_too_deep", "The JSON nests deeper than 32 levels.", "Flatten it."),
        (
            "missing_required_parameter",
            "A field that the route needs is missing.",
            "Add the field that `param` names.",
        ),
        (
            "invalid_value",
            "A field has the wrong type, shape or range.",
            "Correct the field that `param` names.",
        ),
        (
            "unsupported_value",
            "A value of the official API that no engine here can serve.",
            "Leave the field that `param` names out.",
        ),
        (
            "media_url_unsupported",
            "Images, audio and files are taken as `data:` URLs only; nothing is fetched for you.",
            "Send the content itself as a `data:` URL.",
        ),
        (
            "engine_rejected",
            "The engine refused the request; its own words are in `message`.",
            "Change the request as the message says.",
        ),
        (
            "context_length_exceeded",
            "Prompt and answer do not fit into the model's context.",
            "Shorten the prompt, lower max_tokens or take another model.",
        ),
        (
            "model_kind",
            "The model is of another kind: an embedding model does not chat, nor the reverse.",
            "Take a model of the kind that GET /v1/models names.",
        ),
        (
            "nonce_unusable",
            "The nonce is not of this network or older than two minutes.",
            "Ask for a new nonce and sign that.",
        ),
        ("bad_node_key", "That is no node's public key.", "Send a user NKEY, `U…`."),
        (
            "bad_benchmark",
            "The measurement is signed, but is none that this version understands.",
            "Bring the node's agent to the gateway's version.",
        ),
        (
            "invalid_field",
            "A value that cannot be kept.",
            "Correct the field that the message names.",
        ),
    ),
    *_rows(
        401,
        "invalid_request_error",
        (
            "invalid_api_key",
            "No key was sent, or no such key exists.",
            "Send `Authorization: Bearer gai_…`.",
        ),
        ("revoked_api_key", "This key was revoked.", "Ask the operator for a new key."),
        (
            "invalid_token",
            "No such enrolment token exists.",
            "Copy the whole token, or ask for a new one.",
        ),
        (
            "proof_refused",
            "The signature is not this key's over this text.",
            "Sign with the key whose public half the network knows.",
        ),
        ("token_expired", "The enrolment token is too old.", "Ask for a new token."),
        ("token_revoked", "The enrolment token was revoked.", "Ask for a new token."),
        ("token_used", "The enrolment token has enrolled a node already.", "Ask for a new token."),
    ),
    *_rows(
        403,
        "permission_error",
        (
            "insufficient_scope",
            "The key is good, but not for this.",
            "Use a key with the scope that the message names.",
        ),
        (
            "region_forbidden",
            "The request asks for a region that its key may not use.",
            "Leave x-gai-region out or use another key.",
        ),
    ),
    *_rows(
        404,
        "invalid_request_error",
        (
            "unsupported_endpoint",
            "This part of the OpenAI API is not offered here.",
            "See /docs for what is.",
        ),
        ("not_found", "Nothing is at this address.", "Check the path and the id in it."),
        (
            "model_not_found",
            "The network knows no model of this name.",
            "Take a name from GET /v1/models.",
        ),
        ("node_not_found", "There is no such node.", "Take an id from GET /api/v1/nodes."),
        ("key_not_found", "There is no such key.", "Take an id from GET /api/v1/keys."),
        ("token_not_found", "There is no such token.", "Take an id from GET /api/v1/tokens."),
        ("member_not_found", "There is no such member.", "Check the member's id."),
        (
            "claim_not_found",
            "Nobody claims this model name.",
            "Take a claim from GET /api/v1/models.",
        ),
        ("no_own_ca", "This network has no CA of its own.", "Trust the system's certificates."),
    ),
    *_rows(
        405,
        "invalid_request_error",
        (
            "method_not_allowed",
            "The address exists, but not for this method.",
            "Use a method from the `allow` header.",
        ),
    ),
    *_rows(
        408,
        "invalid_request_error",
        (
            "request_timeout",
            "The request's body did not arrive in time.",
            "Send it again on a better line, or make it smaller.",
        ),
    ),
    *_rows(
        409,
        "invalid_request_error",
        (
            "idempotency_conflict",
            "This Idempotency-Key was used for another request.",
            "Use a new key for a new request.",
        ),
        (
            "node_key_taken",
            "Another node has or had this public key.",
            "Let the node make a new identity.",
        ),
        (
            "node_key_stale",
            "The node has another public key by now.",
            "Sign with the node's newest key.",
        ),
        ("node_removed", "The node was removed for good.", "Enrol it again with a new token."),
        ("conflict", "What is there already forbids this.", "Read the message, then decide."),
    ),
    *_rows(
        410,
        "invalid_request_error",
        ("node_gone", "The node was removed for good.", "Enrol again with a new token."),
    ),
    *_rows(
        413,
        "invalid_request_error",
        (
            "body_too_large",
            "The request's body is larger than this gateway takes.",
            "Send less; images and files count.",
        ),
    ),
    *_rows(
        429,
        "rate_limit_error",
        (
            "too_many_failures",
            "Too many wrong keys or tokens came from this address.",
            "Wait as long as Retry-After says; a right key works meanwhile.",
        ),
    ),
    *_rows(
        431,
        "invalid_request_error",
        ("headers_too_large", "The request's headers are larger than 64 KiB.", "Send fewer."),
    ),
    *_rows(
        499,
        "invalid_request_error",
        ("client_closed", "The client left before the answer; seen in usage only.", "Nothing."),
    ),
    *_rows(
        500,
        "server_error",
        (
            "internal_error",
            "A fault of the gateway.",
            "Report it with the request id; it is in the gateway's log.",
        ),
    ),
    *_rows(
        502,
        "server_error",
        ("engine_error", "The node's engine failed.", "Try again."),
        ("node_lost", "The node vanished while it worked, and no other could go on.", "Try again."),
        (
            "continuation_unsound",
            "The node was lost in the middle of an answer that no other can go on with.",
            "Ask again; the message says what kept others from it.",
        ),
        ("bad_node_reply", "The node answered something that is no answer.", "Try again."),
    ),
    *_rows(
        503,
        "server_error",
        ("no_node", "No node serves this model now.", "Wait as long as Retry-After says."),
        ("no_capacity", "All nodes are busy and the queue is full.", "Wait, then try again."),
        ("model_loading", "A node is still loading this model.", "Wait, then try again."),
        (
            "residency_unavailable",
            "No node in the region that was promised can take this.",
            "Wait, or ask without the region.",
        ),
        (
            "region_unavailable",
            "No node in the region asked for can take this.",
            "Wait, or ask without the region.",
        ),
        ("not_ready", "The gateway runs, but no node serves a model.", "Wait for a node."),
        (
            "storage_unavailable",
            "The gateway's database does not answer.",
            "Wait, then try again.",
        ),
        (
            "nats_unavailable",
            "The gateway has no link to its nodes now.",
            "Wait, then try again.",
        ),
        ("shutting_down", "The gateway is stopping.", "Try again; another may take it."),
    ),
    *_rows(
        504,
        "server_error",
        ("timeout", "No node answered in the time allowed.", "Try again or ask for less."),
    ),
)

PROBLEMS: Final[Mapping[str, Problem]] = {problem.code: problem for problem in _TABLE}

__all__ = ["PROBLEMS", "ErrorType", "Problem"]
