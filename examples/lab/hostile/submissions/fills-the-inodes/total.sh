i=0
while touch /tmp/file-$i 2> /dev/null; do i=$((i + 1)); done
echo 3
