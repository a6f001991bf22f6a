#!/bin/sh
# Install the gateways that Garage AI is measured against, each into an environment of its own
# under bench/.peers/ (ignored by git). Nothing of the project needs them.
#
#   bench/peers.sh                  both
#   bench/peers.sh vllm-router      one of them
#   bench/peers.sh --lock           compile vllm-router's lock file again (needs uv)
#
# Exact versions and hashes stand in bench/peers/vllm-router.lock and requirements/litellm.lock, the
# one that `gai litellm` uses too. litellm brings about 740 MB.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

say() { printf '%s\n' "$*" >&2; }

lock_of() {
    case $1 in
        litellm) echo "$here/../requirements/litellm.lock" ;;
        *) echo "$here/peers/$1.lock" ;;
    esac
}

lock() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header "$here/peers/$1.in" --output-file "$here/peers/$1.lock"
}

is_current() {
    [ -x "$here/.peers/$1/bin/$1" ] && cmp -s "$(lock_of "$1")" "$here/.peers/$1/installed.lock"
}

install_one() {
    env_dir="$here/.peers/$1"
    if is_current "$1"; then
        say "$1: already installed"
        return
    fi
    say "$1: installing into bench/.peers/$1 ..."
    rm -f "$env_dir/installed.lock"
    mkdir -p "$here/.peers"
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --allow-existing --python '>=3.11' "$env_dir"
        uv pip sync --quiet --python "$env_dir/bin/python" --require-hashes "$(lock_of "$1")"
    else
        python3 -m venv "$env_dir"
        "$env_dir/bin/python" -m pip install --quiet --disable-pip-version-check \
            --no-deps --require-hashes -r "$(lock_of "$1")"
    fi
    # Written last: an interrupted installation is not taken for a finished one.
    cp "$(lock_of "$1")" "$env_dir/installed.lock"
    say "$1: installed"
}

action=install_one
case "${1:-}" in
    --lock) action=lock; shift ;;
    -h|--help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
[ $# -gt 0 ] || [ "$action" = install_one ] || set -- vllm-router
[ $# -gt 0 ] || set -- vllm-router litellm
for peer in "$@"; do
    [ -f "$(lock_of "$peer")" ] || { say "unknown peer '$peer' (there are: vllm-router litellm)"; exit 2; }
    "$action" "$peer"
done
