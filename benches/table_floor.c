/* The floor of a table of processes: the system calls by which nsbox.ps() reads each process, in one thread, into one
 * buffer, without parsing.
 *
 * It is built as a shared library and called from the process of the benchmark, like floor.c. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const LINKS[] = {"user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"};

static void slurp(int directory, const char *name)
{
    static char buffer[16 << 10];
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    while (read(fd, buffer, sizeof buffer) == sizeof buffer)
        ;
    close(fd);
}

/* Read the stat file and the ids of the eight namespaces of all processes; with `more`, also their status and arguments.
 * Returns nanoseconds, or -1. */
long long floor_table(int more)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    DIR *proc = opendir("/proc");
    if (!proc)
        return -1;
    for (struct dirent *entry; (entry = readdir(proc));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        struct stat owner;
        int directory = openat(dirfd(proc), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
            continue;
        fstat(directory, &owner);
        slurp(directory, "stat");
        if (more) {
            slurp(directory, "status");
            slurp(directory, "cmdline");
        }
        int namespaces = openat(directory, "ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (namespaces >= 0) {
            char target[64];
            for (unsigned link = 0; link < sizeof LINKS / sizeof *LINKS; link++)
                if (readlinkat(namespaces, LINKS[link], target, sizeof target) < 0)
                    continue;
            close(namespaces);
        }
        close(directory);
    }
    closedir(proc);
    clock_gettime(CLOCK_MONOTONIC, &after);
    return (after.tv_sec - before.tv_sec) * 1000000000LL + (after.tv_nsec - before.tv_nsec);
}
