# It sends each signal to its group, to everything that it may, and to PID 1.
trap '' TERM INT HUP QUIT
for signal in $(seq 1 64); do
    kill -$signal 1 $PPID
    [ $signal = 9 ] || [ $signal = 19 ] || kill -$signal -1
done 2> /dev/null
kill -KILL 0
