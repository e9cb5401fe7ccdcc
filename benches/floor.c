/* The floor: the lowest possible cost of nsbox.run(["/bin/true"], unshare="mip", mount_proc=True). It makes the same system
 * calls and nothing else: no init, no supervision, no pipes, no error reports.
 *
 * It is built as a shared library and called from the process of the benchmark, one start per call. So it is measured with
 * the same heap, on the same machine and at the same time as what it is compared with. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK (64 << 10)

static char *const ARGV[] = {"true", NULL};
static char stack[STACK] __attribute__((aligned(16)));

/* Runs in the caller's memory, while the caller is suspended, until its exec. */
static int child(void *environment)
{
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        _exit(101);
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        _exit(102);
    execve("/bin/true", ARGV, environment);
    _exit(103);
}

/* The same with an init (floor_init.c), which is needed to reap orphans: a second exec, and a second process. `init` is the
 * descriptor of its file. */
static int init = -1;

static int child_with_init(void *environment)
{
    execveat(init, "", ARGV, environment, AT_EMPTY_PATH);
    _exit(103);
}

static int plain(void *environment)
{
    execve("/bin/true", ARGV, environment);
    _exit(103);
}

static long long once(int (*body)(void *), int namespaces)
{
    extern char **environ;
    struct timespec before, after;
    int status = 0;

    clock_gettime(CLOCK_MONOTONIC, &before);
    pid_t pid = clone(body, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD | namespaces, environ);
    if (pid < 0)
        return -errno;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    clock_gettime(CLOCK_MONOTONIC, &after);
    if (status != 0)
        return -1000 - (WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return (after.tv_sec - before.tv_sec) * 1000000000LL + (after.tv_nsec - before.tv_nsec);
}

/* Start once in new mount, ipc and pid namespaces with a new proc, as unshare -mipf --mount-proc. Returns nanoseconds; for
 * an error a negative value: minus the error number, or -1000 minus the exit status. */
long long floor_namespaces(void)
{
    return once(child, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID);
}

/* The same with an init, whose file is `fd`. */
long long floor_with_init(int fd)
{
    init = fd;
    return once(child_with_init, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID);
}

/* The same without namespaces: the cost of starting a program. */
long long floor_plain(void)
{
    return once(plain, 0);
}
