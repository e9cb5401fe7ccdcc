(setsid sleep 4741 &)
unshare -mipf
mount -t proc none /proc
