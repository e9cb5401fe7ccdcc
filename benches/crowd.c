/* crowd PROCESSES THREADS: start idle processes, each with further threads, for a benchmark that reads them. All are there
 * when "ready" is printed, and are killed at the end of the standard input. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void *idle(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

int main(int count, char **arguments)
{
    int processes = count > 1 ? atoi(arguments[1]) : 1, threads = count > 2 ? atoi(arguments[2]) : 0;
    char byte;
    setpgid(0, 0);
    for (int process = 0; process < processes; process++) {
        pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            kill(0, SIGKILL);
        }
        if (pid == 0) {
            pthread_attr_t small;
            pthread_attr_init(&small);
            pthread_attr_setstacksize(&small, 16384);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int thread = 0; thread < threads; thread++) {
                pthread_t one;
                if (pthread_create(&one, &small, idle, NULL) != 0)
                    _exit(1);
            }
            idle(NULL);
        }
    }
    sleep(threads > 0);
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    kill(0, SIGKILL);
}
