"""The trainer's command line: one file a command, also as `python -m trainer`.

Commands parse, call and print; the exit code is one of `trainer.protocol.exits`. Paddle is imported by the
commands that need it, after the config has passed.
"""

from trainer.cli.main import main

__all__ = ["main"]
