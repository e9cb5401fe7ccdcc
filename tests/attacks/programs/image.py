"""Get at the file of nsbox-init, by a script whose interpreter is /proc/self/exe, and change it.

Arguments: the path of the script. It prints `ready` when the script is there for others to start, and ends after the
first process that executes the file of nsbox-init.
"""

import os
import sys

path = sys.argv[1]
with open(path, "w") as file:
    file.write("#!/proc/self/exe\n")
os.chmod(path, 0o755)
print("ready", flush=True)


def change(image: str) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        try:
            fd = os.open(image, flags)
            os.write(fd, b"\x90")
            print("OUT wrote to the file of nsbox-init")
        except OSError:
            pass
    try:
        os.truncate(image, 0)
        print("OUT truncated the file of nsbox-init")
    except OSError:
        pass
    try:
        os.chmod(image, 0o755)
        print("changed its mode")
    except OSError:
        pass


while True:
    for name in os.listdir("/proc"):
        image = f"/proc/{name}/exe"
        try:
            if name.isdigit() and name != "1" and "nsbox-init" in os.readlink(image):
                # The process ends soon, and the descriptor stays.
                change(f"/proc/self/fd/{os.open(image, os.O_PATH)}")
                sys.exit()
        except OSError:
            pass
