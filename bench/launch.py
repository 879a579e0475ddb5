"""Run one command and write what it used: `python -I -S launch.py RESULT PROGRAM [ARGUMENT]...`

Linux counts the memory of the process that starts another into the peak of the started one. So commands are started
from here, by an interpreter that holds next to nothing, and not by the benchmark.
"""

import os
import sys
import time

_, result, *command = sys.argv
started = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ)
status, used = os.wait4(child, 0)[1:]
wall_s = time.perf_counter() - started
with open(result, "w") as file:  # noqa: PTH123 # pathlib would double the memory
    file.write(f"{wall_s} {used.ru_utime + used.ru_stime} {used.ru_maxrss * 1024}")
sys.exit(os.waitstatus_to_exitcode(status) % 256)
