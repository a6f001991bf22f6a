"""Fetch one model in a process of its own: manifest, store and certificate as arguments."""

import asyncio
import ssl
import sys
from pathlib import Path

from garage_ai.catalog import ModelStore, decode_manifest


def main() -> None:
    """Fetch, then print the path of the weights."""
    manifest_file, root, certificate = sys.argv[1:]
    manifest = decode_manifest(Path(manifest_file).read_bytes())
    store = ModelStore(Path(root), tls=ssl.create_default_context(cafile=certificate))
    paths = asyncio.run(store.ensure(manifest))
    print(paths[manifest.weights.path])


if __name__ == "__main__":
    main()
