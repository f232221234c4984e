"""The command line: one file a command, which parses, calls and prints. Nothing else prints or exits.

What a command does is in `launcher.jobs`. `main` holds the group, which imports a command's module when the
command is named, so that `--help` and completion stay fast; `options` what several commands share; `printing`
the one way out.
"""

from launcher.cli.main import main

__all__ = ["main"]
