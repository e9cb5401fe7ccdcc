unshare -ipf
mount -t proc none /proc
