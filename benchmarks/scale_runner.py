"""`scale_runner.py FD COMMAND…`: runs a command and writes its PID, then its figures, to a descriptor.

A process beside, because Linux counts the memory of whoever starts a command as that command's until it has
replaced itself: a small starter makes a small error.
"""

import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_IGN)
out = int(sys.argv[1])
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, setsigdef=[signal.SIGINT])
os.write(out, b"%d\n" % pid)
_, status, used = os.wait4(pid, 0)
code = os.waitstatus_to_exitcode(status)
os.write(out, b"%d %.3f %d\n" % (code, used.ru_utime + used.ru_stime, used.ru_maxrss))
