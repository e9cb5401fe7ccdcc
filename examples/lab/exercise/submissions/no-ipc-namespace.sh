unshare -mpf
mount -t proc none /proc
