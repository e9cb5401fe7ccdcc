mount -t proc none /proc
unshare -mipf
