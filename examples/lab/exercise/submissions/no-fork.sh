unshare -mip
mount -t proc none /proc
