unshare --mount --ipc --pid --fork --mount-proc bash
