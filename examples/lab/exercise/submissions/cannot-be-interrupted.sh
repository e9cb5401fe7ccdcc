trap '' INT
while :; do :; done
unshare -mipf
mount -t proc none /proc
