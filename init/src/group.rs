//! The process group of the caller.

use crate::sys;

/// Leave the process group of the caller. The payload is in it, and gets the signals of a terminal from the kernel. Init
/// forwards the signals that it gets, so in the same group the payload would get each signal twice.
///
/// Init leaves the session as well. A parent in the same session, but in another group, keeps a group from being orphaned
/// (setpgid(2)). If init were that parent, the caller's group would become orphaned when init ends, and the kernel would
/// send SIGHUP to all of it if one of its processes is stopped at that moment. A new session costs a scheduler group
/// (sched(7), autogroup), so init stays in the session if the payload ends at once. A payload with a group of its own needs
/// init as its parent in the session: the terminal could not stop it otherwise.
pub fn leave_group(payload_has_group: bool) {
    let _ = if payload_has_group { sys::setpgid(0) } else { sys::setsid() };
}
