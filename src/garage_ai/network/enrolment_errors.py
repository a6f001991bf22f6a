"""Why a node was not let in, or not let go on.

EnrolmentError         code                HTTP
├── NonceUnusable      nonce_unusable      400    not ours, too old, or of a clock far ahead
├── BadBenchmark       bad_benchmark       400    well signed, but no measurement we know
├── AgentTooOld        agent_too_old       403    older than the oldest that works here
├── ProofRefused       proof_refused       401    the signature is not this key's over this text
└── NodeGone           node_gone           410    the node was removed, for good
"""


class EnrolmentError(Exception):
    """Anything about a node's identity that the network refuses."""

    code = "enrolment_error"
    status = 400


class NonceUnusable(EnrolmentError):
    code = "nonce_unusable"


class BadBenchmark(EnrolmentError):
    code = "bad_benchmark"


class AgentTooOld(EnrolmentError):
    code = "agent_too_old"
    status = 403


class ProofRefused(EnrolmentError):
    code = "proof_refused"
    status = 401


class NodeGone(EnrolmentError):
    code = "node_gone"
    status = 410
