#!/bin/sh
# PID 1 of the machine: the file systems, then the tests, then the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
mkdir -p /nsbox
mount -t ext4 /dev/vdb /nsbox
read -r up _ < /proc/uptime
echo "vm: Linux $(uname -r), up after $up s"
setsid -w sh /nsbox/tests/vm/tests.sh < /dev/null
echo "vm: status $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
