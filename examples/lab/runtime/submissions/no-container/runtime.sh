# It runs the program, and nothing else.
shift
exec "$@"
