"""The workshop exercise on PID and IPC namespaces, live: what ``nsbox demo`` shows.

`steps.py` is the exercise, `stage.py` how it is shown, `ipc.py` and `pids.py` what is run for it inside.
"""

from nsbox.exercise.steps import Exercise

__all__ = ["Exercise"]
