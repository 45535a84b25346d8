"""The command line: `kzoo ...`. Each command parses, calls the library, and prints."""

from kzoo.cli.app import main

__all__ = ["main"]
