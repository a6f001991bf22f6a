#!/bin/sh
# Checks and tests:  ./test.sh [--all] [pytest args]
# Without pytest args the linters run first, then the tests in two processes;
# --all adds the tests marked `system` and `slow`.
set -eu

self=$0
[ ! -h "$self" ] || self=$(readlink -f -- "$self")
root=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd -P)
. "$root/start.sh"

everything=
for argument in "$@"; do
  shift
  case $argument in
  --all) everything=1 ;;
  *) set -- "$@" "$argument" ;;
  esac
done
prepare dev
cd "$root"
PATH=$venv/bin:$PATH

failures=
# check NAME COMMAND...: one line when it is well, all it said when it is not.
check() {
  name=$1
  shift
  if output=$("$@" 2>&1); then
    printf '%-14s ok\n' "$name"
  else
    printf '%-14s FAILED\n%s\n' "$name" "$output"
    failures="$failures $name"
  fi
}

if [ $# = 0 ]; then
  check 'ruff check' ruff check
  check 'ruff format' ruff format --check
  check mypy mypy
  check lint-imports lint-imports --no-logo
  [ -z "$failures" ] || printf '\nThe tests run all the same, but this run has failed:%s\n' "$failures"
  # In the order of the folders: what takes longest (e2e) begins first.
  set -- -n 2 --dist loadfile --no-loadscope-reorder --durations 25
fi

# Ours comes first, so that a `-m` among the arguments wins.
[ "$everything" ] || set -- -m 'not system and not slow' "$@"
status=0
pytest "$@" || status=$?
[ -z "$failures" ] || [ "$status" != 0 ] || status=1
exit "$status"
