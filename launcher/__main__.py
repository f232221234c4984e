"""`python -m launcher`, for environments in which scripts are not on the path."""

from launcher.cli import main

if __name__ == "__main__":
    main()
