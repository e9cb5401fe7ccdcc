//! newuidmap(1) and newgidmap(1), which write the id maps that the caller may not.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, ChildStderr, Command, Stdio};

/// newuidmap(1) or newgidmap(1), running: privileged programs that write what subuid(5) and subgid(5) grant.
pub struct Helper {
    child: Child,
    /// Its standard error. That ends with it, which is how its end is noticed: the children of a caller that ignores
    /// SIGCHLD are gone before anybody could look at them.
    errors: ChildStderr,
    words: Vec<u8>,
}

impl Helper {
    /// Start it for a process that /proc shows as `pid`.
    pub fn start(program: &str, pid: i32, rows: &[[u32; 3]]) -> Result<Self, i32> {
        let mut command = Command::new(program);
        command.arg(pid.to_string()).args(rows.iter().flatten().map(u32::to_string));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| errno(&error))?;
        let errors = child.stderr.take().expect("asked for above");
        Ok(Helper { child, errors, words: Vec::new() })
    }

    /// Readable when there is something to [`hear`](Self::hear).
    pub fn fd(&self) -> RawFd {
        self.errors.as_raw_fd()
    }

    /// Take in what it says; what came of it, once it has ended: nothing, or an error number and its own words.
    pub fn hear(&mut self) -> Option<Result<(), (i32, String)>> {
        let mut more = [0; 512];
        match self.errors.read(&mut more) {
            Ok(0) => {}
            Ok(length) => {
                self.words.extend_from_slice(&more[..length]);
                return None;
            }
            Err(error) => return Some(Err((errno(&error), String::new()))),
        }
        // A status that the kernel has thrown away makes no difference: a refusal has a reason.
        let succeeded = self.child.wait().map_or(self.words.is_empty(), |status| status.success());
        let words = || String::from_utf8_lossy(&self.words).trim().replace('\n', "; ");
        Some(if succeeded { Ok(()) } else { Err((libc::EPERM, words())) })
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
