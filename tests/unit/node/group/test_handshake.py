"""Who proves what to whom before rigs talk."""

import pytest

from garage_ai.node.group.errors import BadPeer
from garage_ai.node.group.handshake import Handshake, Signer, hello
from garage_ai.wire.ids import NodeId

SECRET, OTHER = b"s" * 32, b"t" * 32
A, B = NodeId("a"), NodeId("b")


def both(dialer: bytes = SECRET, acceptor: bytes = SECRET) -> tuple[Handshake, Handshake]:
    """The two sides of one handshake, with what each takes for the secret."""
    first, second = hello(A, "run"), hello(B, "run")
    return (
        Handshake(dialer, "dialer", first, second),
        Handshake(acceptor, "acceptor", second, first),
    )


def test_those_who_hold_the_secret_know_each_other() -> None:
    """Each proof holds, and each side's keys are what the other checks with."""
    one, other = both()
    one.check(other.proof)
    other.check(one.proof)
    assert (one.peer.node, other.peer.node) == (B, A)
    assert one.signs == other.checks != one.checks == other.signs


def test_another_secret_proves_nothing() -> None:
    """Neither way."""
    one, other = both(SECRET, OTHER)
    for side, proof in ((one, other.proof), (other, one.proof)):
        with pytest.raises(BadPeer, match="secret"):
            side.check(proof)


def test_a_proof_holds_once_and_one_way() -> None:
    """It can neither be sent back nor be used in another handshake."""
    one, other = both()
    with pytest.raises(BadPeer):
        one.check(one.proof)
    again, _ = both()
    with pytest.raises(BadPeer):
        again.check(other.proof)


def test_it_does_not_talk_to_itself() -> None:
    """An address in the list may be this rig's own."""
    with pytest.raises(BadPeer, match="itself"):
        Handshake(SECRET, "dialer", hello(A, "run"), hello(A, "run"))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1", b"\xc1" * 40])
def test_strangers_are_told_apart(said: bytes) -> None:
    """What is no hello is refused."""
    with pytest.raises(BadPeer):
        Handshake(SECRET, "acceptor", hello(A, "run"), said)


def test_a_signature_is_of_one_message_at_its_place() -> None:
    """Changed, doubled or out of order it does not hold."""
    signer = Signer(b"k" * 32)
    signature = signer.sign(3, b"start")
    signer.check(3, b"start", signature)
    for number, payload in ((3, b"stop"), (4, b"start")):
        with pytest.raises(BadPeer):
            signer.check(number, payload, signature)
