# bash runtime.sh ROOT PROGRAM [ARGUMENT...]
set -e
exec unshare --mount --pid --ipc --uts --net --fork --kill-child bash -ec '
    root=$1
    shift
    hostname container
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    cd "$root"
    # The old root is mounted over the new one, and is unmounted there.
    pivot_root . .
    exec -c /bin/sh -c "umount -l / && cd / && exec \"\$@\"" sh "$@"
' runtime "$@"
