"""The device of tunnels as udev leaves it: open to everybody, which containers often do not."""

from typing import Final

OPEN: Final = (
    "mount --make-rprivate /dev && mount -t tmpfs tmpfs /dev/net && "
    "mknod -m 666 /dev/net/tun c 10 200"
)
"""For a shell of root's in a mount namespace of its own."""

WITH_DEVICE: Final = (
    *("unshare", "--mount", "--propagation", "unchanged"),
    *("sh", "-c", f'{OPEN} && exec "$@"', "sh"),
)
"""What stands before a command that is to have it; namespaces made by it are seen outside."""

__all__ = ["OPEN", "WITH_DEVICE"]
