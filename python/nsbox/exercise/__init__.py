"""The workshop exercise on PID and IPC namespaces, as ``nsbox demo`` shows it.

    steps.py  the steps of the exercise
    stage.py  the output: titles, explanations, commands, checks
    ipc.py    IPC objects; ``python -m nsbox.exercise.ipc`` looks for them from inside
    pids.py   the PID limit; also ``python -m nsbox.exercise.pids``

Nothing is imported here, so that ipc.py starts fast inside.
"""
