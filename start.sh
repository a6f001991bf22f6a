#!/bin/sh
# Starts Garage AI:  ./start.sh [gai up options]   |   ./start.sh join URL TOKEN [...]
# The first time it makes .venv; after that it goes straight to `gai`.
set -eu

self=$0
[ ! -h "$self" ] || self=$(readlink -f -- "$self")
root=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd -P)
. "$root/scripts/venv.sh"

if [ "${1-}" != join ]; then
  prepare up
  exec "$root/.venv/bin/gai" up "$@"
fi
shift
# A volunteer who lends a server of their own has no use for llama.cpp and its 100 MB.
case " $* " in
*" --engine external "* | *" --engine=external "*) prepare base ;;
*) prepare node ;;
esac
exec "$root/.venv/bin/gai" node join "$@"
