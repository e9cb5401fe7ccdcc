//! newuidmap(1) and newgidmap(1), which write the id maps that the caller may not.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, ChildStderr, Command, Stdio};

/// newuidmap(1) or newgidmap(1), running: privileged programs that write what subuid(5) and subgid(5) grant.
pub struct MapHelper {
    child: Child,
    /// Its standard error. The end of file shows the end of the program: where the caller ignores SIGCHLD, the kernel
    /// has reaped the child by then, and a wait finds nothing.
    errors: ChildStderr,
    message: Vec<u8>,
}

impl MapHelper {
    /// Start it for a process that /proc shows as `pid`.
    pub fn start(program: &str, pid: i32, rows: &[[u32; 3]]) -> Result<Self, i32> {
        let mut command = Command::new(program);
        command.arg(pid.to_string()).args(rows.iter().flatten().map(u32::to_string));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| errno(&error))?;
        let errors = child.stderr.take().expect("asked for above");
        Ok(MapHelper { child, errors, message: Vec::new() })
    }

    /// Readable when there is something to [`read`](Self::read).
    pub fn fd(&self) -> RawFd {
        self.errors.as_raw_fd()
    }

    /// Read what it prints. Once it has ended, returns the result: nothing, or an error number and its message.
    pub fn read(&mut self) -> Option<Result<(), (i32, String)>> {
        let mut more = [0; 512];
        match self.errors.read(&mut more) {
            Ok(0) => {}
            Ok(length) => {
                self.message.extend_from_slice(&more[..length]);
                return None;
            }
            Err(error) => return Some(Err((errno(&error), String::new()))),
        }
        // Without a status (see `errors`) an empty message means success: it prints why it refuses.
        let succeeded = self.child.wait().map_or(self.message.is_empty(), |status| status.success());
        let message = || String::from_utf8_lossy(&self.message).trim().replace('\n', "; ");
        Some(if succeeded { Ok(()) } else { Err((libc::EPERM, message())) })
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Drop for MapHelper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
