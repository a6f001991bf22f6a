#!/usr/bin/env python3
"""Describe a wheel of ours and sign that, for `gai node update`.

    python scripts/sign_release.py --new-key KEYFILE            prints the public half, `U…`
    python scripts/sign_release.py --key KEYFILE WHEEL          writes two files beside the wheel

The key is the whole trust of those who update: keep it off the machine that builds.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from garage_ai.node.update.release import make_release, page_name, sign_release
from garage_ai.node.update.source import LATEST
from garage_ai.wire.nkey import KeyPair, Role
from garage_ai.wire.secret_files import create_secret, read_secret


def main() -> None:
    """Make a key, or sign a wheel with it."""
    said = argparse.ArgumentParser(description="Sign a release.")
    said.add_argument("wheel", nargs="?", type=Path)
    said.add_argument("--key", type=Path)
    said.add_argument("--new-key", type=Path)
    said.add_argument("--python", default="3.11", help="oldest Python that runs it")
    options = said.parse_args()
    if options.new_key is not None:
        pair = KeyPair.generate(Role.USER)
        create_secret(options.new_key, pair.seed() + "\n")
        print(pair.public)
        return
    if options.key is None or options.wheel is None:
        said.error("--key KEYFILE and WHEEL, or --new-key KEYFILE")
    pair = KeyPair.from_seed(read_secret(options.key), Role.USER)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    release = make_release(options.wheel, python=options.python, date=today)
    page = sign_release(release, pair)
    for name in (page_name(release.version), LATEST):
        options.wheel.with_name(name).write_bytes(page)
        print(options.wheel.with_name(name))


if __name__ == "__main__":
    main()
