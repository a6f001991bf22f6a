"""Podman's own profile of system calls, less what makes namespaces and mounts. Pure, but for files.

Podman's default lets any process make a user namespace and be root in there: every capability, over
much of the kernel that an engine never needs. Docker's default does not. What is taken away here
brings both to the same; nothing is ever added.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from garage_ai.node.errors import NoSeccomp
from garage_ai.wire.secret_files import replace_secret

DENIED: Final = frozenset(
    {
        *("unshare", "setns", "clone3"),
        *("mount", "umount", "umount2", "pivot_root", "move_mount", "mount_setattr", "open_tree"),
        *("fsopen", "fsconfig", "fsmount", "fspick"),
        *("add_key", "keyctl", "request_key"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register"),
        *("userfaultfd", "perf_event_open", "bpf", "ptrace"),
        "clone",
    }
)
"""`clone` comes back below, for threads and processes; the C library does without `clone3`."""

_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h)."""

_ALLOW: Final = "SCMP_ACT_ALLOW"
_CLONE: Final = {
    "names": ["clone"],
    "action": _ALLOW,
    "args": [{"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
}
_FILE: Final = "seccomp.json"

_profile: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_rules: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_names: Final = msgspec.json.Decoder(list[str])
_word: Final = msgspec.json.Decoder(str)


def narrowed(profile: bytes) -> bytes:
    """Take what is denied out of every rule that allows. Raises: NoSeccomp for another format."""
    try:
        whole = _profile.decode(profile)
        if _word.decode(whole["defaultAction"]) == _ALLOW:
            raise NoSeccomp("Podman's profile of system calls allows what it does not name.")
        rules = [_kept(rule) for rule in _rules.decode(whole["syscalls"])]
    except (msgspec.MsgspecError, KeyError) as error:
        raise NoSeccomp(
            "Podman's profile of system calls is of no known form: {error}",
            error=error,
        ) from error
    kept = [rule for rule in rules if rule is not None]
    return msgspec.json.encode({**whole, "syscalls": [*kept, _CLONE]})


def write_profile(own: Path | None, folder: Path) -> Path:
    """See that the narrowed profile is in a node's folder, and give where. Raises: NoSeccomp."""
    try:
        if own is None:
            raise FileNotFoundError(2, os.strerror(2))
        text = narrowed(own.read_bytes())
    except OSError as error:
        raise NoSeccomp(
            "Podman's profile of system calls cannot be read ({own}: {error}). It comes "
            "with the package containers-common, or golang-github-containers-common.",
            own=own,
            error=error.strerror,
        ) from error
    path = folder.absolute() / _FILE
    # A disk that has become full keeps nothing from starting that did before.
    if not path.is_file() or path.read_bytes() != text:
        replace_secret(path, text.decode())
    return path


def _kept(rule: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """Give what stays of a rule; None where nothing does. What refuses stays as it is."""
    if _word.decode(rule["action"]) != _ALLOW:
        return rule
    names = [name for name in _names.decode(rule["names"]) if name not in DENIED]
    return {**rule, "names": msgspec.Raw(msgspec.json.encode(names))} if names else None


__all__ = ["DENIED", "narrowed", "write_profile"]
