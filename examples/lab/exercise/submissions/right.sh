unshare -mipf
mount -t proc none /proc
