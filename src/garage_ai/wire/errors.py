"""What can be wrong with bytes from the network.

WireError                 code
├── Malformed             malformed        not a packet, beat or message of ours
├── Lost                  frame_lost       a sequence number is missing
├── Repeated              frame_repeated   a sequence number came again
├── WindowOverrun         window_overrun   more bytes than credit allows
├── TooManyBytes          too_many_bytes   more bytes than the request may have
└── OutOfTurn             out_of_turn      a frame that cannot come in this state
"""


class WireError(Exception):
    """Anything received that breaks the protocol; the peer is to be treated as lost."""

    code = "wire_error"


class Malformed(WireError):
    code = "malformed"


class Lost(WireError):
    code = "frame_lost"


class Repeated(WireError):
    code = "frame_repeated"


class WindowOverrun(WireError):
    code = "window_overrun"


class TooManyBytes(WireError):
    code = "too_many_bytes"


class OutOfTurn(WireError):
    code = "out_of_turn"
