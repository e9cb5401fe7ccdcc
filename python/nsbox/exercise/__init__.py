"""The workshop exercise on PID and IPC namespaces, live: what ``nsbox demo`` shows.

`steps.py` is the exercise, `stage.py` how it is shown; `ipc.py` and `pids.py` are run for it inside, so that nothing is
imported here.
"""
