"""Nested boxes: one process with a PID in each."""

# %%
import nsbox

boxes = [nsbox.Box("mip")]
for _ in range(3):
    boxes.append(boxes[-1].Box("mip"))
with boxes[-1].Popen(["sleep", "1000"]) as program:
    pids = nsbox.ps(pids=[program.pid])[0].pids
    assert pids is not None
    assert (pids[0], pids[-1], len(pids)) == (program.pid, 2, 5), pids
    assert nsbox.translate_pid(2, boxes[-1]) == program.pid
    assert nsbox.translate_pid(program.pid, None, boxes[0]) == pids[1]
    program.kill()

# %%
boxes[0].close()
assert not any(box.alive for box in boxes)
for box in boxes:
    box.close()
