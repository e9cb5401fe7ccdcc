//! Namespaces that exist already: joining them, and descending into a PID namespace.
//!
//! setns(2) puts a process into all of them but a PID namespace, which is for its children only. Init has to be inside
//! as well, as the subreaper of the payload: orphans never cross a PID namespace. So init descends: a child carries on
//! with the plan, and the process that the caller knows waits for the end of that child.

use linux_raw_sys::general::{SIGCHLD, SIGCONT, SIGKILL};

use crate::descriptors::close_others;
use crate::group::leave_group;
use crate::report::{Channel, FAILED};
use crate::sys::{self, EINVAL, EPERM, Result};

/// Interval between checks for a stopped child, or for the end of one whose caller is dead, in milliseconds.
const CHECK_INTERVAL: u32 = 100;
/// Number of checks in a row in which the child is stopped and gets SIGCONT; after that, SIGKILL.
const MAX_SIGCONT: u32 = 30;
/// Number of checks that the child has for its end after the caller's death; after that, SIGKILL.
const MAX_CHECKS_AFTER_CALLER_DEATH: u32 = 20;

/// Close a descriptor that is no longer needed, and return the result of its use.
pub fn used<T>(fd: i32, result: Result<T>) -> Result<T> {
    sys::close(fd);
    result
}

/// Take root's ids in the user namespace that was joined. A process that joins one has all capabilities in it, but its
/// ids stay the same, and an exec keeps the capabilities only for root (capabilities(7)). A namespace may have no root
/// (EINVAL: the ids then stay the same), and setgroups may be disabled in it (EPERM).
pub fn become_root() -> Result<()> {
    let unless = |expected, result: Result<()>| if result == Err(expected) { Ok(()) } else { result };
    unless(EPERM, sys::setgroups(&[]))?;
    unless(EINVAL, sys::setgid(0))?;
    unless(EINVAL, sys::setuid(0))
}

/// Carry on as a child made with `flags`. This returns only in the child; the parent exits when the child does.
pub fn descend(channel: &Channel, flags: u64) -> Result<()> {
    let signals = sys::signal_fd()?;
    let ourselves = sys::pidfd_open(sys::getpid())?;
    // Where the caller ignores SIGCHLD, init inherits that, and the kernel would reap its children (wait(2), NOTES).
    let sigchld = sys::sigaction(SIGCHLD, &sys::DEFAULT);
    match sys::fork(flags)? {
        None => {
            sys::sigaction(SIGCHLD, &sigchld);
            sys::close(signals);
            // The parent has a single thread, so this follows the right one. It may have been killed before this call.
            sys::die_with_parent()?;
            if sys::poll([ourselves], Some(0)) != Ok([false]) {
                sys::exit(FAILED);
            }
            sys::close(ourselves);
            Ok(())
        }
        Some((pid, pidfd)) => stay(channel.lifeline, signals, pid, pidfd),
    }
}

/// Wait for the end of the child that carries on, forward signals to it, and exit with its status.
fn stay(mut lifeline: i32, signals: i32, pid: i32, pidfd: i32) -> ! {
    // Neither the socket nor any pipe stays open here: they close when the child closes them.
    let closed = close_others(&mut [lifeline, signals, pidfd]);
    if closed.and_then(|()| sys::set_dumpable(false)).is_err() {
        sys::kill(pid, SIGKILL);
    }
    leave_group(false);
    let _ = sys::chdir(c"/".as_ptr().cast());
    let (mut stopped, mut stops, mut checks_after_death) = (false, 0, 0);
    loop {
        let timeout = if stopped || lifeline < 0 { Some(CHECK_INTERVAL) } else { None };
        let Ok([ended, orphaned, signalled]) = sys::poll([pidfd, lifeline, signals], timeout) else {
            sys::exit(FAILED)
        };
        if ended {
            let status = sys::wait(pid, &mut [0; 18], true).ok().flatten().map_or(0x100, |(_, status)| status);
            sys::exit(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) });
        }
        if orphaned {
            // The child polls the caller's pidfd as well, and ends what it started. It may be stopped.
            sys::kill(pid, SIGCONT);
            lifeline = -1;
        }
        if signalled
            && let Ok(signal) = sys::read_signal(signals)
            && signal != SIGCHLD
        {
            sys::kill(pid, signal);
        }
        // In a PID namespace that is not its own, the processes there can stop the child again and again. When it is
        // killed, what it has started is killed too (PR_SET_PDEATHSIG).
        stopped |= sys::has_stopped(pidfd);
        if !(orphaned || signalled) {
            stops = if stopped { stops + 1 } else { 0 };
            checks_after_death += u32::from(lifeline < 0);
            if stops > MAX_SIGCONT || checks_after_death > MAX_CHECKS_AFTER_CALLER_DEATH {
                sys::kill(pid, SIGKILL);
            } else if stopped {
                sys::kill(pid, SIGCONT);
            }
            stopped = false;
        }
    }
}
