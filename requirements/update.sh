#!/bin/sh
# Writes all lock files anew from pyproject.toml and the .in files; needs uv.
#   requirements/update.sh                 as little as possible changes
#   requirements/update.sh --upgrade       everything moves to its newest release
#   requirements/update.sh -P aiohttp      one package does
#   TORCH_LINKS=DIR requirements/update.sh vllm.lock too; DIR holds PyTorch's wheel for the CPU
# The locks name no index: whoever installs chooses theirs, and the hashes hold anywhere.
set -eu
cd "$(dirname -- "$0")/.."
# Extra places this machine happens to search would put the hashes of their own builds in the locks.
unset UV_FIND_LINKS UV_INDEX UV_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_EXTRA_INDEX_URL

compile() {
  name=$1
  shift
  echo "requirements/$name.lock" >&2
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --no-header --output-file "requirements/$name.lock" "$@" >/dev/null
}

# dev holds everything; the others are held to its versions, so that sets can be mixed in one .venv.
compile dev pyproject.toml requirements/build.in requirements/engine.in --all-extras "$@"
for name in build engine lan; do
  compile $name "requirements/$name.in" --constraint requirements/dev.lock
done
compile node pyproject.toml --constraint requirements/dev.lock
compile up pyproject.toml --extra local --constraint requirements/dev.lock
compile model requirements/model.in "$@"
compile litellm requirements/litellm.in "$@"
compile s3 requirements/s3.in "$@"

# PyTorch for the CPU is in no package index that serves everybody; say where it lies.
if [ -n "${TORCH_LINKS:-}" ]; then
  echo "requirements/vllm.lock" >&2
  uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --override requirements/vllm.without --find-links "$TORCH_LINKS" --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --output-file requirements/vllm.lock \
    requirements/vllm.in "$@" >/dev/null
else
  echo "requirements/vllm.lock stays: TORCH_LINKS names no folder or page with PyTorch for the CPU" >&2
fi
