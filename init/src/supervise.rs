//! After the payload has started: reap, forward, and die with the caller.
//!
//! As PID 1 of a namespace our own end is the end of everything in it (pid_namespaces(7)). Without a PID namespace
//! we are a subreaper (prctl(2)) and end what is left of our descendants one by one.

use linux_raw_sys::general::{O_RDONLY, SIGCHLD, SIGKILL};

use crate::report::Channel;
use crate::sys::{self, Attached};
use nsbox_init::wire::{Report, ReportKind};

/// The process that was started.
pub struct Payload {
    /// Its PID in our own namespace.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: i32,
    /// Whether we are PID 1 of a namespace.
    pub init_of_namespace: bool,
    /// Whether it has told the caller its number itself.
    pub announced: bool,
    /// Our list of children in /proc, opened before the payload could put something else there.
    pub children: Option<i32>,
}

/// Where our descriptors live from here on; everything else is closed, so that nobody waits in vain for the end of
/// a pipe we merely inherited.
const SOCKET: i32 = 0;
const LIFELINE: i32 = 1;
const SIGNALS: i32 = 2;
const PAYLOAD: i32 = 3;
const CHILDREN: i32 = 4;
const FIRST_FREE: i32 = 5;

/// How long to wait for descendants that have just been killed before looking for more, in milliseconds.
const SWEEP: u32 = 5;

/// Stay until the payload, or the caller, is dead.
pub fn supervise(channel: &Channel, payload: Payload) -> ! {
    let signals = match sys::signal_fd() {
        Ok(fd) => fd,
        // Without it nothing could be supervised: out of memory or descriptors. The payload must not outlive us.
        Err(_) => end(&payload, crate::FAILED),
    };
    settle([channel.socket, channel.lifeline, signals, payload.pidfd, payload.children.unwrap_or(-1)]);
    // The payload started in the caller's process group, where a terminal's signals reach it. Leave that group, or
    // it would get each of them twice: from the terminal and forwarded by us.
    let _ = sys::setpgid(0);
    let _ = sys::chdir(c"/".as_ptr().cast());
    let channel = Channel { socket: SOCKET, lifeline: LIFELINE };
    let started = Report { value: i64::from(payload.pid), ..Report::new(ReportKind::Started) };
    // In another PID namespace our number for the payload means nothing to the caller: the kernel translates it.
    let sender = (payload.init_of_namespace && !payload.announced).then_some(payload.pid);
    if channel.send(started, Some(Attached { fd: PAYLOAD, sender })).is_err() {
        // The caller gave up while we were at it.
        end(&payload, crate::FAILED);
    }
    let mut socket = SOCKET;
    loop {
        let Ok([heard, orphaned, signalled]) = sys::poll([socket, LIFELINE, SIGNALS], None) else { continue };
        if orphaned {
            end(&payload, crate::FAILED);
        }
        if heard {
            // The caller says nothing after the payload has started, so this is the end of the connection. The
            // handle may be gone while its process lives on: carry on, the lifeline decides.
            socket = -1;
        }
        if signalled {
            while let Ok(signal) = sys::read_signal(SIGNALS) {
                if signal != SIGCHLD {
                    sys::pidfd_send_signal(PAYLOAD, signal);
                }
            }
            reap(&channel, &payload);
        }
    }
}

/// Collect every child that ended. With the payload's own end we are done.
fn reap(channel: &Channel, payload: &Payload) {
    let mut rusage = [0; 18];
    while let Ok(Some((pid, status))) = sys::wait(-1, &mut rusage, false) {
        if pid == payload.pid {
            if !payload.init_of_namespace {
                sweep();
            }
            let report = Report { value: i64::from(status), rusage, ..Report::new(ReportKind::Exited) };
            let _ = channel.send(report, None);
            // Our own status says the same in the shell's way (128 + signal), for whoever waits for us instead.
            sys::exit(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) });
        }
    }
}

/// End everything and ourselves.
fn end(payload: &Payload, status: i32) -> ! {
    if !payload.init_of_namespace {
        sys::kill(payload.pid, SIGKILL);
        sweep();
    }
    sys::exit(status)
}

/// The list of our children (proc(5), /proc/PID/task/TID/children), if /proc is there and shows our own namespace:
/// numbers from another one would name strangers.
pub fn open_children() -> Option<i32> {
    let mut own = Decimal::new(sys::getpid());
    let mut seen = [0; 16];
    let length = sys::read_link(c"/proc/self", &mut seen).ok()?;
    if &seen[..length] != own.digits() {
        return None;
    }
    let mut path = [0_u8; 64];
    let mut length = 0;
    for part in [b"/proc/self/task/".as_slice(), own.digits(), b"/children\0"] {
        path[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    sys::open(path.as_ptr(), O_RDONLY).ok()
}

/// Kill and reap descendants until none is left. Each generation's orphans become our children. A child of ours
/// cannot be confused with another process: its number is taken until we reap it.
fn sweep() {
    let mut rusage = [0; 18];
    loop {
        loop {
            match sys::wait(-1, &mut rusage, false) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if !kill_children() {
            return;
        }
        let _ = sys::poll([SIGNALS], Some(SWEEP));
        while sys::read_signal(SIGNALS).is_ok() {}
    }
}

/// SIGKILL to every child; false if the list of them cannot be had.
fn kill_children() -> bool {
    let mut buffer = [0; 4096];
    let Ok(length) = sys::read_at(CHILDREN, &mut buffer, 0) else { return false };
    let mut pid = 0;
    for &byte in &buffer[..length] {
        if byte.is_ascii_digit() {
            pid = pid * 10 + i32::from(byte - b'0');
        } else if pid > 0 {
            sys::kill(pid, SIGKILL);
            pid = 0;
        }
    }
    true
}

/// Move the descriptors to 0, 1, 2, … and close all others. A negative one leaves its place empty.
fn settle<const N: usize>(fds: [i32; N]) {
    let moved = fds.map(|fd| if fd < 0 { -1 } else { sys::duplicate_above(fd, FIRST_FREE).unwrap_or(-1) });
    for (place, &fd) in moved.iter().enumerate() {
        if fd >= 0 {
            let _ = sys::duplicate_to(fd, place as i32, true);
        } else {
            sys::close(place as i32);
        }
    }
    sys::close_from(FIRST_FREE);
}

/// A number in decimal, without an allocator.
struct Decimal {
    buffer: [u8; 11],
    start: usize,
}

impl Decimal {
    fn new(mut number: i32) -> Self {
        let mut decimal = Decimal { buffer: [0; 11], start: 11 };
        loop {
            decimal.start -= 1;
            decimal.buffer[decimal.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return decimal;
            }
        }
    }

    fn digits(&mut self) -> &[u8] {
        &self.buffer[self.start..]
    }
}
