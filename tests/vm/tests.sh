#!/bin/sh
# The tests, each as root, as a user with a delegated cgroup, and as one without. ARGUMENTS has what pytest gets.
cd /nsbox || exit 1
export PYTHONPATH=/nsbox/site PYTHONDONTWRITEBYTECODE=1
top=/sys/fs/cgroup
echo "+cpu +memory +pids" > $top/cgroup.subtree_control
id student > /dev/null 2>&1 || useradd --uid 4321 --create-home student
status=0

tests() {
    echo "vm: $1"
    shift
    # shellcheck disable=SC2046 # one argument a line
    "$@" python3 -m pytest -q -p no:cacheprovider $(cat arguments) || status=1
}

as_student() {
    cgroup=$1
    shift
    sh -c 'echo 0 > "$0/cgroup.procs" && exec setpriv --reuid 4321 --regid 4321 --clear-groups env HOME=/home/student "$@"' "$cgroup" "$@"
}

tests "root, in the root cgroup" env
mkdir $top/root
tests "root, in another one" sh -c 'echo 0 > /sys/fs/cgroup/root/cgroup.procs && exec "$@"' sh

# As systemd delegates a cgroup: the directory and these files belong to the user (cgroups(7), Delegation).
mkdir $top/delegated
chown 4321:4321 $top/delegated $top/delegated/cgroup.procs $top/delegated/cgroup.threads $top/delegated/cgroup.subtree_control
as_student $top/root sh -c 'mkdir /sys/fs/cgroup/delegated/own'
echo "+cpu +memory +pids" > $top/delegated/cgroup.subtree_control
tests "user, delegated" as_student $top/delegated/own

mkdir $top/plain
tests "user, not delegated" as_student $top/plain
exit $status
