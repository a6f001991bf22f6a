"""What can go wrong on a node, for its owner to read.

NodeError                  code             exit
├── EngineError                                   inside a request; the code goes into its Fail
│   ├── EngineLost         engine_lost            the engine died or does not answer
│   ├── EngineTimeout      engine_timeout         the engine works, but too long or in silence
│   ├── DoesNotFit         does_not_fit           the model fits in this PC's memory at no size
│   ├── ModelMissing       unknown_model          the owner's server no longer has the model
│   └── EngineProtocol     engine_protocol        the engine speaks no HTTP that we understand
├── NotPossible            not_possible      2    this PC or these options cannot serve
│   ├── SandboxError       sandbox_error    10    an engine cannot be fenced in here
│   │   ├── NoRuntime      no_runtime       11    there is neither podman nor docker
│   │   ├── RuntimeTooOld  runtime_too_old  12    what there is cannot do it
│   │   ├── RuntimeBroken  runtime_broken   13    it does not work for this user
│   │   ├── NoUserIds      no_user_ids      14    rootless podman needs subordinate ids
│   │   ├── NoSeccomp      no_seccomp       15    system calls are not filtered here
│   │   └── NoImage        no_image         16    the engine's image cannot be had
│   ├── NoServiceManager   no_service_manager 41  systemd runs no services of this user here
│   ├── EngineMissing      engine_missing    21   the chosen engine is not installed
│   ├── EngineUnfit        engine_unfit      22   it is, in a version or build that cannot be used
│   ├── CardUnusable       card_unusable     23   a card is there and the engine cannot use it
│   ├── NoRoom             no_room           24   the model does not fit, for now or at all
│   ├── NoSuchModel        no_such_model     25   neither this PC nor the network knows the model
│   ├── ModelAway          model_away        27   the model's files are not here for now
│   └── BadManifest        bad_manifest      26   what the network says of a model does not hold
├── GatewayAway            gateway_away      3    the gateway was not reached
├── EnrolmentFailed        enrolment_failed  4    the gateway refused the node, or its new key
│   └── AgentTooOld        agent_too_old    31    the network works with newer agents only
├── NotEnrolled            not_enrolled      5    there is no identity in the folder
├── NotKept                not_kept         42    the disk takes nothing: what was begun stays begun
├── AlreadyRunning         already_running   6    another agent holds the folder
├── Superseded             superseded        7    a newer copy of the identity has taken over
├── Removed                removed           8    the network no longer accepts this node
├── NoAgent                no_agent          9    no agent is running that could be told anything
└── UpdateFailed           update_failed    32    the agent stays as it is; the message says why
    ├── NoReleaseKey       no_release_key   33    nobody is known whose releases could be trusted
    ├── BadRelease         bad_release      34    not signed by that key, or not what was signed
    ├── ReleaseAway        release_away     35    the release was not reached
    ├── NotNewer           not_newer        36    there is nothing to go forward to, or back to
    └── TakenBack          taken_back       37    the new version did not serve, the old one does
"""


class NodeError(Exception):
    """Anything that keeps a node from its work; the message tells the owner what to do.

    It is written in English and names its values as `str.format` does, so that whoever shows it
    can say the same in another language: `template` is its text, `values` what stands in it.
    """

    code = "node_error"
    exit_code = 1

    def __init__(self, template: str, /, **values: object) -> None:
        super().__init__(template.format(**values) if values else template)
        self.template = template
        self.values = values


class EngineError(NodeError):
    code = "engine_error"


class EngineLost(EngineError):
    code = "engine_lost"


class EngineTimeout(EngineError):
    code = "engine_timeout"


class EngineProtocol(EngineError):
    code = "engine_protocol"


class DoesNotFit(EngineError):
    code = "does_not_fit"


class ModelMissing(EngineError):
    code = "unknown_model"


class NotPossible(NodeError):
    code = "not_possible"
    exit_code = 2


class EngineMissing(NotPossible):
    code = "engine_missing"
    exit_code = 21


class EngineUnfit(NotPossible):
    code = "engine_unfit"
    exit_code = 22


class NoServiceManager(NotPossible):
    code = "no_service_manager"
    exit_code = 41


class CardUnusable(NotPossible):
    code = "card_unusable"
    exit_code = 23


class NoRoom(NotPossible):
    """`reason` says what is lacking where others hold it for now; empty: it can never fit."""

    code = "no_room"
    exit_code = 24

    def __init__(self, template: str, /, *, reason: str = "", **values: object) -> None:
        super().__init__(template, **values)
        self.reason = reason


class NoSuchModel(NotPossible):
    code = "no_such_model"
    exit_code = 25


class ModelAway(NotPossible):
    code = "model_away"
    exit_code = 27


class BadManifest(NotPossible):
    code = "bad_manifest"
    exit_code = 26


class SandboxError(NotPossible):
    code = "sandbox_error"
    exit_code = 10


class NoRuntime(SandboxError):
    code = "no_runtime"
    exit_code = 11


class RuntimeTooOld(SandboxError):
    code = "runtime_too_old"
    exit_code = 12


class RuntimeBroken(SandboxError):
    code = "runtime_broken"
    exit_code = 13


class NoUserIds(SandboxError):
    code = "no_user_ids"
    exit_code = 14


class NoSeccomp(SandboxError):
    code = "no_seccomp"
    exit_code = 15


class NoImage(SandboxError):
    code = "no_image"
    exit_code = 16


class GatewayAway(NodeError):
    code = "gateway_away"
    exit_code = 3


class EnrolmentFailed(NodeError):
    code = "enrolment_failed"
    exit_code = 4


class AgentTooOld(EnrolmentFailed):
    code = "agent_too_old"
    exit_code = 31


class NotEnrolled(NodeError):
    code = "not_enrolled"
    exit_code = 5


class NotKept(NodeError):
    code = "not_kept"
    exit_code = 42


class AlreadyRunning(NodeError):
    code = "already_running"
    exit_code = 6


class Superseded(NodeError):
    code = "superseded"
    exit_code = 7


class Removed(NodeError):
    code = "removed"
    exit_code = 8


class NoAgent(NodeError):
    code = "no_agent"
    exit_code = 9


class UpdateFailed(NodeError):
    code = "update_failed"
    exit_code = 32


class NoReleaseKey(UpdateFailed):
    code = "no_release_key"
    exit_code = 33


class BadRelease(UpdateFailed):
    code = "bad_release"
    exit_code = 34


class ReleaseAway(UpdateFailed):
    code = "release_away"
    exit_code = 35


class NotNewer(UpdateFailed):
    code = "not_newer"
    exit_code = 36


class TakenBack(UpdateFailed):
    code = "taken_back"
    exit_code = 37
