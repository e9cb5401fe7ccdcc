//! The program to start, and its surroundings.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// A program and its surroundings, everything in the form in which the kernel takes it.
#[pyclass(module = "nsbox._core")]
#[derive(Debug)]
pub struct Launch {
    /// Paths to try, in order.
    pub paths: Vec<PyBackedBytes>,
    /// The argument vector.
    pub argv: Vec<PyBackedBytes>,
    /// `NAME=value` each; None for the caller's environment.
    pub env: Option<Vec<PyBackedBytes>>,
    /// The working directory; None for the caller's.
    #[pyo3(get)]
    pub cwd: Option<PyBackedBytes>,
    /// What becomes descriptors 0, 1 and 2; -1 leaves one as it is.
    #[pyo3(get, set)]
    pub stdio: [i32; 3],
    /// Descriptors kept under their own number.
    #[pyo3(get, set)]
    pub pass_fds: Vec<i32>,
    /// Whether all others are closed.
    #[pyo3(get)]
    pub close_fds: bool,
    /// Whether SIGPIPE and SIGXFSZ, which Python ignores, get their default action back.
    pub restore_signals: bool,
    /// Whether setsid(2) is called.
    pub start_new_session: bool,
    /// The group for setpgid(2), 0 for a new one; None for the caller's.
    pub process_group: Option<i32>,
    /// Whether descriptor 0 becomes the controlling terminal.
    pub controlling_terminal: bool,
    /// The file mode creation mask; None for the caller's.
    pub umask: Option<i32>,
    /// The supplementary groups; None for the caller's.
    pub groups: Option<Vec<u32>>,
    /// The group id; None for the caller's.
    pub gid: Option<u32>,
    /// The user id; None for the caller's.
    pub uid: Option<u32>,
}

#[pymethods]
impl Launch {
    #[new]
    #[pyo3(signature = (
        *, paths, argv, env=None, cwd=None, stdio=[-1; 3], pass_fds=Vec::new(), close_fds=true, restore_signals=true,
        start_new_session=false, process_group=None, controlling_terminal=false, umask=None, groups=None, gid=None,
        uid=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "one for each field, all by keyword")]
    fn new(
        paths: Vec<PyBackedBytes>,
        argv: Vec<PyBackedBytes>,
        env: Option<Vec<PyBackedBytes>>,
        cwd: Option<PyBackedBytes>,
        stdio: [i32; 3],
        pass_fds: Vec<i32>,
        close_fds: bool,
        restore_signals: bool,
        start_new_session: bool,
        process_group: Option<i32>,
        controlling_terminal: bool,
        umask: Option<i32>,
        groups: Option<Vec<u32>>,
        gid: Option<u32>,
        uid: Option<u32>,
    ) -> Self {
        Launch {
            paths,
            argv,
            env,
            cwd,
            stdio,
            pass_fds,
            close_fds,
            restore_signals,
            start_new_session,
            process_group,
            controlling_terminal,
            umask,
            groups,
            gid,
            uid,
        }
    }
}
