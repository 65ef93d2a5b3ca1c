"""The command line: `aimed` and its ten verbs."""

from aimed.cli.app import main

__all__ = ["main"]
