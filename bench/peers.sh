#!/bin/sh
# Install the gateways that Garage AI is measured against, each into an environment of its own
# under bench/.peers/ (ignored by git). Nothing of the project needs them.
#
#   bench/peers.sh                  both
#   bench/peers.sh vllm-router      one of them
#   bench/peers.sh --lock           compile the lock files again from bench/peers/*.in (needs uv)
#
# Exact versions and hashes stand in bench/peers/*.lock. litellm brings about 740 MB.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

say() { printf '%s\n' "$*" >&2; }

lock() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header "$here/peers/$1.in" --output-file "$here/peers/$1.lock"
}

is_current() {
    [ -x "$here/.peers/$1/bin/$1" ] && cmp -s "$here/peers/$1.lock" "$here/.peers/$1/installed.lock"
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
        uv pip sync --quiet --python "$env_dir/bin/python" --require-hashes "$here/peers/$1.lock"
    else
        python3 -m venv "$env_dir"
        "$env_dir/bin/python" -m pip install --quiet --disable-pip-version-check \
            --no-deps --require-hashes -r "$here/peers/$1.lock"
    fi
    # Written last: an interrupted installation is not taken for a finished one.
    cp "$here/peers/$1.lock" "$env_dir/installed.lock"
    say "$1: installed"
}

action=install_one
case "${1:-}" in
    --lock) action=lock; shift ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
[ $# -gt 0 ] || set -- vllm-router litellm
for peer in "$@"; do
    [ -f "$here/peers/$peer.in" ] || { say "unknown peer '$peer' (there are: vllm-router litellm)"; exit 2; }
    "$action" "$peer"
done
