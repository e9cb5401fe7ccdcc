#!/bin/sh
# The tests, each as a user with a delegated cgroup, as one without, and as root. `arguments` has what pytest gets.
cd /nsbox || exit 1
export PYTHONPATH=/nsbox/site PYTHONDONTWRITEBYTECODE=1
top=/sys/fs/cgroup
echo "+cpu +memory +pids" > $top/cgroup.subtree_control
id student > /dev/null 2>&1 || useradd --uid 4321 --create-home student
status=0

# As systemd delegates a cgroup: the directory and these files belong to the user (cgroups(7), Delegation).
mkdir $top/root $top/plain $top/delegated $top/delegated/own
chown 4321:4321 $top/delegated $top/delegated/cgroup.procs $top/delegated/cgroup.threads \
    $top/delegated/cgroup.subtree_control $top/delegated/own/*
chown 4321:4321 $top/delegated/own
echo "+cpu +memory +pids" > $top/delegated/cgroup.subtree_control

# tests NAME CGROUP [COMMAND that becomes the user]
tests() {
    echo "vm: $1"
    cgroup=$2
    shift 2
    # shellcheck disable=SC2016,SC2046 # one argument a line
    sh -c 'echo 0 > "$0/cgroup.procs" && exec "$@"' "$cgroup" "$@" \
        env HOME=/tmp python3 -m pytest -q --color=no -p no:cacheprovider $(cat arguments) || status=1
}

student="setpriv --reuid 4321 --regid 4321 --clear-groups"
# shellcheck disable=SC2086 # several words
tests "user, delegated" $top/delegated/own $student
# shellcheck disable=SC2086
tests "user, not delegated" $top/plain $student
tests "root" $top/root
tests "root, in the root cgroup" $top
exit $status
