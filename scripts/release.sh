#!/bin/sh
# Makes what a release consists of:  scripts/release.sh ADDRESS [FOLDER]
#   FOLDER/garage_ai-VERSION-py3-none-any.whl   to be put below ADDRESS, an https:// folder
#   FOLDER/start.sh                           knows that wheel's address and hash, and works alone
# The same tree gives the same wheel, byte for byte: anybody can check what was released.
# FOLDER is dist/ unless another is named.
set -eu
cd "$(dirname -- "$0")/.."
folder=${1:?ADDRESS, where the wheel will lie, is missing}
dist=${2:-dist}

rm -f "$dist"/garage_ai-*.whl "$dist/start.sh"
.venv/bin/python -m hatchling build --target wheel --directory "$dist" >&2
wheel=$(basename "$dist"/garage_ai-*.whl)
sha256=$(sha256sum <"$dist/$wheel" | cut -c 1-64)
sed "s|^released=''\$|released='${folder%/}/$wheel#sha256=$sha256'|" start.sh >"$dist/start.sh"
grep -q "$sha256" "$dist/start.sh"
chmod 755 "$dist/start.sh"
printf '%s\n' "$dist/$wheel" "$dist/start.sh"
