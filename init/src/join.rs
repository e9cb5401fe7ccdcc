//! Namespaces that exist already: going into them, and staying outside of what a process cannot go into itself.
//!
//! setns(2) puts a process into all of them but a PID namespace, which is for its children only. So that nsbox-init has
//! its place in there too, as the subreaper of the payload (orphans never cross a PID namespace), it descends: a child
//! carries on with the plan, and the process the caller knows waits for that one's end.

use linux_raw_sys::general::{SIGCHLD, SIGCONT, SIGKILL};

use crate::report::Channel;
use crate::supervise::{close_others, leave_group};
use crate::sys::{self, EINVAL, EPERM, Result};

/// How often somebody who has been stopped is looked after, in milliseconds.
const TICK: u32 = 100;
/// So many times in a row it is made to go on before it is given up.
const MOST_STOPS: u32 = 30;
/// So many times it is waited for when the caller is dead.
const LONGEST_FAREWELL: u32 = 20;

/// What became of the use of a descriptor that is of no further use.
pub fn used<T>(fd: i32, result: Result<T>) -> Result<T> {
    sys::close(fd);
    result
}

/// Whoever joins a user namespace has all capabilities in it, but its ids stay what they are, and an exec leaves the
/// capabilities only to root (capabilities(7)). A namespace may have no root (EINVAL: then the ids are left alone), and
/// may have given up setgroups (EPERM).
pub fn become_root() -> Result<()> {
    let unless = |expected, result: Result<()>| if result == Err(expected) { Ok(()) } else { result };
    unless(EPERM, sys::setgroups(&[]))?;
    unless(EINVAL, sys::setgid(0))?;
    unless(EINVAL, sys::setuid(0))
}

/// Carry on as a child made with `flags`; returns only in that one. We ourselves end when it does.
pub fn descend(channel: &Channel, flags: u64) -> Result<()> {
    let signals = sys::signal_fd()?;
    let ourselves = sys::pidfd_open(sys::getpid())?;
    // A caller that ignores SIGCHLD would have its children reaped by the kernel, and we inherit that.
    let sigchld = sys::sigaction(SIGCHLD, &sys::DEFAULT);
    match sys::fork(flags)? {
        None => {
            sys::sigaction(SIGCHLD, &sigchld);
            sys::close(signals);
            // Our parent has a single thread, so this cannot follow the wrong one; it may have been killed just before.
            sys::die_with_parent();
            if sys::poll([ourselves], Some(0)) != Ok([false]) {
                sys::exit(crate::FAILED);
            }
            sys::close(ourselves);
            Ok(())
        }
        Some((pid, pidfd)) => stay(channel.lifeline, signals, pid, pidfd),
    }
}

/// Wait for the end of the child that carries on, pass on the signals that we are sent, and end as it does.
fn stay(mut lifeline: i32, signals: i32, pid: i32, pidfd: i32) -> ! {
    // Neither the socket nor anybody's pipes: their ends shall be those of the child.
    close_others(&mut [lifeline, signals, pidfd]);
    sys::set_dumpable(false);
    leave_group(false);
    let _ = sys::chdir(c"/".as_ptr().cast());
    let (mut stopped, mut stops, mut farewell) = (false, 0, 0);
    loop {
        let patience = if stopped || lifeline < 0 { Some(TICK) } else { None };
        let Ok([ended, orphaned, signalled]) = sys::poll([pidfd, lifeline, signals], patience) else {
            sys::exit(crate::FAILED)
        };
        if ended {
            let status = sys::wait(pid, &mut [0; 18], true).ok().flatten().map_or(0x100, |(_, status)| status);
            sys::exit(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) });
        }
        if orphaned {
            // It watches the caller as well, and ends what it started; all it may need is to be woken up.
            sys::pidfd_send_signal(pidfd, SIGCONT);
            lifeline = -1;
        }
        if signalled
            && let Ok(signal) = sys::read_signal(signals)
            && signal != SIGCHLD
        {
            sys::pidfd_send_signal(pidfd, signal);
        }
        // In a PID namespace that is not its own it can be stopped by those who are there already, again and again. And
        // when it is killed, what it has started goes along (PR_SET_PDEATHSIG).
        stopped |= sys::has_stopped(pidfd);
        if !(orphaned || signalled) {
            stops = if stopped { stops + 1 } else { 0 };
            farewell += u32::from(lifeline < 0);
            if stops > MOST_STOPS || farewell > LONGEST_FAREWELL {
                sys::pidfd_send_signal(pidfd, SIGKILL);
            } else if stopped {
                sys::pidfd_send_signal(pidfd, SIGCONT);
            }
            stopped = false;
        }
    }
}
