# Right, but something stays.
(setsid sleep 4000 > /dev/null 2>&1 < /dev/null &)
exec python3 -c "import sys; print(sum(map(int, sys.stdin.read().split())))"
