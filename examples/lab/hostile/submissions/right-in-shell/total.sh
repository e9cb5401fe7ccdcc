# Only up to 64 bits.
total=0
for number in $(cat); do total=$((total + number)); done
echo $total
