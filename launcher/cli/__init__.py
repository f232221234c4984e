"""The command line: one file a command, which parses, calls and prints. Nothing else prints or exits.

`main` holds the group, which imports a command's module when the command is named, so that `--help` and
completion stay fast; `options` what several commands share; `prepare` the way from a file to a manifest.
"""

from launcher.cli.main import main

__all__ = ["main"]
