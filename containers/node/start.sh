#!/bin/sh
# The image's entry point: `gai node` with what comes after the image's name.
set -eu
# What Podman noted of a boot before this one is not so any more; nothing runs in here yet.
rm -rf "$XDG_RUNTIME_DIR"
mkdir -m 700 "$XDG_RUNTIME_DIR"
# An outer Podman hands its capabilities on, an outer Docker does not; only newuidmap and newgidmap
# are to have any, and they get theirs from their files.
exec setpriv --ambient-caps -all --inh-caps -all gai node "$@"
