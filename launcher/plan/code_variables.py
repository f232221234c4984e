"""Variables of the environment by which a program loads code that it would not load without them.

In a container they are the image's and the config's own affair. With `--on local` the processes are the
user's, on the user's machine, and a config is data: it may not choose what they run, but for
`Launch.extra_modules`, which says that it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PYTHON_IS_FINE = (
    "HASHSEED", "DONTWRITEBYTECODE", "FAULTHANDLER", "IOENCODING", "UTF8", "TRACEMALLOC", "ASYNCIODEBUG",
    "DEVMODE", "OPTIMIZE", "VERBOSE", "MALLOC", "INTMAXSTRDIGITS", "NODEBUGRANGES", "COERCECLOCALE",
    "PROFILEIMPORTTIME",
)  # fmt: skip
# Sources: ld.so(8), dyld(1), bash(1), python(1), git(1), gconv and locale of glibc, config(5) of OpenSSL,
# OMPT of OpenMP 5.0 (OMP_TOOL_LIBRARIES), the injection library of CUDA, plugins of NCCL, UCX, Qt and GTK,
# PaddlePaddle 3.3 (phi/backends/dynload: FLAGS_*_dir; CUSTOM_DEVICE_ROOT), matplotlib (`module://`),
# PERL5OPT and its like of other interpreters, programs that tools start by the name in a variable.
_LOADS = re.compile(
    rf"PYTHON(?!({'|'.join(_PYTHON_IS_FINE)})$).*|LD_.*|DYLD_.*|GCONV_PATH|LOCPATH|GLIBC_TUNABLES|PATH|IFS|ENV"
    r"|BASH_.*|SHELLOPTS|BASHOPTS|PS[0-4]|PROMPT_COMMAND|CDPATH|GIT_.*|SSH_ASKPASS.*|SUDO_ASKPASS"
    r"|OPENSSL_(CONF|ENGINES|MODULES)|OMP_TOOL.*|CUDA_INJECTION64_PATH|NCCL_.*(PLUGIN|CONF_FILE)|UCX_MODULE.*"
    r"|OMPI_MCA_.*|MPLBACKEND|MPLCONFIGDIR|MATPLOTLIBRC|QT_.*|GTK_.*|GIO_.*|CUSTOM_DEVICE_ROOT|FLAGS_.*_dir"
    r"|OPENCV_.*(PATH|PLUGIN).*|PERL.*|RUBY.*|NODE_.*|JAVA_.*|_JAVA_OPTIONS|JDK_.*|CLASSPATH|LUA_.*"
    r"|CC|CXX|CUDA_HOME|CUDA_PATH|NVCC.*|EDITOR|VISUAL|PAGER|BROWSER|SHELL|XDG_(CONFIG|DATA)_.*|VIRTUAL_ENV"
)  # fmt: skip


def loads_code(name: str) -> bool:
    """Say whether a variable can have a program load or start code of whoever sets it."""
    return _LOADS.fullmatch(name) is not None


def find_code_variables(names: Iterable[str]) -> list[str]:
    """Return those of some variables that can."""
    return [name for name in names if loads_code(name)]
