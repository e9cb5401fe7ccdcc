/* ./runtime ROOT PROGRAM [ARGUMENT...] */
#define _GNU_SOURCE
#include <err.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static void container(const char *root, char **program)
{
    if (sethostname("container", 9))
        err(1, "sethostname");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(root, root, NULL, MS_BIND, NULL))
        err(1, "mount %s", root);
    if (chdir(root) || mount("proc", "proc", "proc", 0, NULL))
        err(1, "mount proc");
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        err(1, "pivot_root");
    execv(program[0], program);
    err(127, "%s", program[0]);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        errx(2, "usage: runtime ROOT PROGRAM [ARGUMENT...]");
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET))
        err(1, "unshare");
    container(argv[1], argv + 2);
    return 1;
}
