"""Where `trainer` begins, and `python -m trainer`.

Libraries load for some hundredths of a second before a command can meet Ctrl-C by itself. So they are
imported inside of what meets it.
"""

import sys

INTERRUPTED = 130  # what a shell reports of a program that SIGINT has ended


def main() -> None:
    """Run the command line and exit."""
    try:
        from trainer.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
