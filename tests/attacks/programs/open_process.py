"""For each PID that is read from standard input, try to open what only a tracer may open, and print a line at the end.

The PIDs are those of the /proc here, which can be that of an outer PID namespace.
"""

import contextlib
import os
import sys

print("ready", flush=True)
for line in sys.stdin:
    pid = int(line)
    for name, flags in [("mem", os.O_RDWR), ("mem", os.O_RDONLY), ("environ", os.O_RDONLY), ("cwd", os.O_RDONLY)]:
        with contextlib.suppress(OSError):
            os.close(os.open(f"/proc/{pid}/{name}", flags))
            print("OUT", name, flush=True)
    for directory in ("fd", "map_files"):
        with contextlib.suppress(OSError):
            # Their names alone are shown to root.
            for name in os.listdir(f"/proc/{pid}/{directory}"):
                os.readlink(f"/proc/{pid}/{directory}/{name}")
                print("OUT", directory, flush=True)
    print("done", flush=True)
