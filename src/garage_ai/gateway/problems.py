"""The table of errors: every one that a client can meet, once.

The documentation and the OpenAPI description are made from it.
"""

from collections.abc import Mapping
from typing import Final

from garage_ai.gateway.batch_problems import OF_BATCHES
from garage_ai.gateway.problem import ErrorType, Problem, rows

_TABLE: Final = (
    *rows(
        400,
        "invalid_request_error",
        ("invalid_http", "The bytes sent are not HTTP/1.1.", "Check the client or the proxy."),
        ("invalid_json", "The body is not JSON in UTF-8, or no object.", "Send a JSON object."),
        ("json_too_deep", "The JSON nests deeper than 32 levels.", "Flatten it."),
        (
            "too_many_fields",
            "The request has more than 256 fields that it may not or need not have.",
            "Send only what the API knows.",
        ),
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
            "invalid_transfer",
            "No such entry of the ledger may be.",
            "Correct what the message names.",
        ),
        (
            "invalid_field",
            "A value that cannot be kept.",
            "Correct the field that the message names.",
        ),
        (
            "invalid_price",
            "No price: below zero, too high, or for nothing.",
            "Correct what the message names.",
        ),
        (
            "invalid_manifest",
            "No manifest of a model that every node could fetch.",
            "Correct what the message names; `gai models describe` makes one of files.",
        ),
        (
            "price_too_soon",
            "A price never changes for what has been admitted, and gateways hear of it first.",
            "Let it hold from a minute on, or name no moment.",
        ),
    ),
    *rows(
        401,
        "invalid_request_error",
        (
            "invalid_api_key",
            "No key was sent, or no such key exists.",
            "Send `Authorization: Bearer gai_…`.",
        ),
        ("revoked_api_key", "This key was revoked.", "Ask the operator for a new key."),
        ("expired_api_key", "This key's time is over.", "Ask the operator for more time."),
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
        ("invalid_invite", "No such invite exists.", "Copy the whole link, or ask for a new one."),
        ("invite_expired", "The invite is too old.", "Ask for a new invite."),
        ("invite_revoked", "The invite was revoked.", "Ask for a new invite."),
        ("invite_used", "As many have come by this invite as may.", "Ask for a new invite."),
    ),
    *rows(
        403,
        "permission_error",
        (
            "agent_too_old",
            "The node's agent is older than the oldest that this network works with.",
            "Update it on the node's PC: gai node update.",
        ),
        (
            "insufficient_scope",
            "The key is good, but not for this.",
            "Use a key with the scope that the message names.",
        ),
        (
            "member_suspended",
            "The member that this key belongs to is suspended.",
            "Ask the operator of the network.",
        ),
        (
            "model_forbidden",
            "The key may not use this model.",
            "Take a name from GET /v1/models, which shows those that it may use.",
        ),
        (
            "region_forbidden",
            "The request asks for a region that its key may not use.",
            "Leave x-gai-region out or use another key.",
        ),
    ),
    *rows(
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
            "Take a name from GET /v1/models, or of the catalogue from GET /api/v1/manifests.",
        ),
        ("node_not_found", "There is no such node.", "Take an id from GET /api/v1/nodes."),
        ("key_not_found", "There is no such key.", "Take an id from GET /api/v1/keys."),
        ("token_not_found", "There is no such token.", "Take an id from GET /api/v1/tokens."),
        ("member_not_found", "There is no such member.", "Check the member's id."),
        ("invite_not_found", "There is no such invite.", "Take an id from `gai member invites`."),
        (
            "nothing_signed",
            "The log of acts has no signed head yet.",
            "Wait a minute.",
        ),
        (
            "claim_not_found",
            "Nobody claims this model name.",
            "Take a claim from GET /api/v1/models.",
        ),
        (
            "mapping_not_found",
            "Nothing of LiteLLM is mapped under this name.",
            "Take one from GET /api/v1/litellm/mappings.",
        ),
        ("no_own_ca", "This network has no CA of its own.", "Trust the system's certificates."),
    ),
    *rows(
        405,
        "invalid_request_error",
        (
            "method_not_allowed",
            "The address exists, but not for this method.",
            "Use a method from the `allow` header.",
        ),
    ),
    *rows(
        408,
        "invalid_request_error",
        (
            "request_timeout",
            "The request's body did not arrive in time.",
            "Send it again on a better line, or make it smaller.",
        ),
    ),
    *rows(
        409,
        "invalid_request_error",
        (
            "too_many_made",
            "The member has as many keys or tokens as one may have, or made as many within a day.",
            "Revoke those that nobody uses; what was made within a day counts until it is over.",
        ),
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
        (
            "transfer_conflict",
            "This id was used for another entry of the ledger.",
            "Use a new id for a new entry.",
        ),
        (
            "overdraft",
            "The account has less than the entry takes from it.",
            "Enter no more than what is available.",
        ),
        (
            "manifest_exists",
            "The name is another model's.",
            "Take another name, or remove that model first.",
        ),
        ("node_removed", "The node was removed for good.", "Enrol it again with a new token."),
        (
            "last_admin_key",
            "No other key could administer this network.",
            "Make another admin key first.",
        ),
        (
            "operator_needed",
            "The operator of a network is neither suspended nor erased, nor do its keys all end.",
            "Name another member.",
        ),
        ("member_erased", "The member was erased, for good.", "Make or invite a new member."),
        (
            "not_confirmed",
            "Erasing needs the member's own name as it stands in GET /api/v1/me.",
            "Send that name, if you mean it.",
        ),
        ("conflict", "What is there already forbids this.", "Read the message, then decide."),
    ),
    *rows(
        410,
        "invalid_request_error",
        ("node_gone", "The node was removed for good.", "Enrol again with a new token."),
    ),
    *rows(
        413,
        "invalid_request_error",
        (
            "body_too_large",
            "The request's body is larger than this gateway takes.",
            "Send less; images and files count.",
        ),
    ),
    *rows(
        429,
        "rate_limit_error",
        (
            "rate_limit_exceeded",
            "The key or its member has reached a limit of requests, tokens, streams or calls.",
            "Wait as long as Retry-After says; without it, ask for less.",
        ),
        (
            "budget_exceeded",
            "The key or its member has used up its tokens or GAI of this day or month.",
            "Wait as long as Retry-After says, or ask the operator for more.",
        ),
        (
            "too_many_failures",
            "Too many wrong keys or tokens came from this address.",
            "Wait as long as Retry-After says; a right key works meanwhile.",
        ),
        (
            "too_many_measurements",
            "This node, or this gateway, has measured lines enough for now.",
            "Wait as long as Retry-After says.",
        ),
        (
            "too_many_rotations",
            "The node has changed its key as often as it may within a day.",
            "Wait as long as Retry-After says; the key that it has works on.",
        ),
    ),
    *rows(
        429,
        "insufficient_quota",
        (
            "insufficient_quota",
            "The member has fewer GAI than the request may cost at most.",
            "Ask for fewer tokens (max_tokens), lend a GPU, or wait for the next month's share.",
        ),
    ),
    *rows(
        431,
        "invalid_request_error",
        ("headers_too_large", "The request's headers are larger than 64 KiB.", "Send fewer."),
    ),
    *rows(
        499,
        "invalid_request_error",
        ("client_closed", "The client left before the answer; seen in usage only.", "Nothing."),
    ),
    *rows(
        500,
        "server_error",
        (
            "internal_error",
            "A fault of the gateway.",
            "Report it with the request id; it is in the gateway's log.",
        ),
    ),
    *rows(
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
    *rows(
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
        (
            "not_ready",
            "The gateway runs, but no node within reach serves a model.",
            "Wait for a node.",
        ),
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
    *rows(
        504,
        "server_error",
        ("timeout", "No node answered in the time allowed.", "Try again or ask for less."),
    ),
)

PROBLEMS: Final[Mapping[str, Problem]] = {
    problem.code: problem
    for problem in sorted((*_TABLE, *OF_BATCHES), key=lambda problem: problem.status)
}

__all__ = ["PROBLEMS", "ErrorType", "Problem"]
