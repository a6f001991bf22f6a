"""`python -m docs.generate [--check]`: write the generated pages, or say which are out of date."""

import os
import sys

# Before anything of ours is imported: help texts follow the language, defaults the environment.
for name in [name for name in os.environ if name.startswith(("GAI_", "LC_", "XDG_"))]:
    del os.environ[name]
os.environ["LANG"] = "C.UTF-8"


def main(arguments: list[str]) -> int:
    """Do it; 1 when a page is out of date, 2 for a wrong argument."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m docs.generate [--check]\n")
        return 2
    from docs.generate.pages import stale, write

    if arguments:
        old = stale()
        for name in old:
            sys.stdout.write(f"docs/reference/{name} is out of date: python -m docs.generate\n")
        return 1 if old else 0
    for path in write():
        sys.stdout.write(f"docs/reference/{path.name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
