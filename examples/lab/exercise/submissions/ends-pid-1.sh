unshare -mipf
mount -t proc none /proc
exec true
