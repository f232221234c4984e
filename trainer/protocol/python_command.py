"""How a program of ours is started by this Python in a folder that holds somebody's files.

`python -m trainer` puts the current folder before everything that is installed, so that a `trainer/`,
`random.py` or `runpy.py` there is taken for ours or for Python's. From 3.11 on, `-P` leaves the folder out.
Before, nothing does that alone: `-I` also drops PYTHONPATH and the packages of the user's own. There a line
of code takes the folder out before it imports anything; `sys`, its only module until then, is part of the
interpreter.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_HAS_FLAG = sys.version_info >= (3, 11)
_START = (
    "import sys;"
    "sys.path[:] = sys.path[1:];"  # with -c the first is '', which stands for the current folder
    "module = sys.argv.pop(1);"
    "import runpy;"
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def python_command(module: str, arguments: Sequence[str] = (), *, has_flag: bool = _HAS_FLAG) -> list[str]:
    """Return what runs a module of this interpreter's packages, whatever lies in the current folder.

    Args:
        module: Such as `trainer.node`.
        arguments: Of the program.
        has_flag: This Python knows `-P`.
    """
    if has_flag:
        return [sys.executable, "-P", "-m", module, *arguments]
    return [sys.executable, "-c", _START, module, *arguments]
