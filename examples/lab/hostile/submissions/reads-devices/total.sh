cat /dev/mem /dev/kmsg /dev/sda /proc/kcore
mknod disk b 8 0
cat disk
