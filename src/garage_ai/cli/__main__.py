"""`python -m garage_ai.cli`: the same as `gai`."""

from garage_ai.cli import main

main()
