//! What a scope changes for the calling thread.

use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};

use crate::kinds::{self, kinds_of};
use crate::thread::calls::{
    Failed, directory, loopback_up, mount, mount_number, mount_proc, own_namespace, setns, unshare,
};
use crate::thread::undo::{Undo, join_step, names};

/// Namespaces and directories that are about to be left.
type Kept = (Vec<(u64, OwnedFd)>, Option<[OwnedFd; 2]>);

/// What a scope does.
pub enum Change {
    Unshare { flags: u64, private: bool, loopback: bool },
    Join(Vec<(u64, RawFd)>),
    MountProc(CString),
}

/// Open the namespaces the thread is in, and where the mounts are among them its directories. Its root, its working
/// directory and its umask are no longer those of other threads then (CLONE_FS), which is for good: the kernel would not
/// let the thread change its mount namespace otherwise, and it could not share them again.
fn keep(flags: u64) -> std::result::Result<Kept, Failed> {
    let mut namespaces = Vec::new();
    for kind in kinds_of(flags) {
        let fd = own_namespace(kind.name);
        namespaces.push((kind.flag, step("open own", || format!("ioctl(PIDFD_GET_{}_NAMESPACE)", kind.name), fd)?));
    }
    let directories = if flags & kinds::MOUNT != 0 {
        let root = step("open own", || "open(\"/\", O_PATH)".into(), directory(c"/"))?;
        let cwd = step("open own", || "open(\".\", O_PATH)".into(), directory(c"."))?;
        step("unshare", || "unshare(CLONE_FS)".into(), unshare(libc::CLONE_FS))?;
        Some([root, cwd])
    } else {
        None
    };
    Ok((namespaces, directories))
}

fn step<T>(
    name: &'static str,
    call: impl FnOnce() -> String,
    done: std::result::Result<T, i32>,
) -> std::result::Result<T, Failed> {
    done.map_err(|errno| (name, call(), errno))
}

impl Change {
    /// Carry it out, and note in `undo` what has been done so far.
    pub fn apply(&self, undo: &mut Undo) -> std::result::Result<(), Failed> {
        match self {
            Change::Unshare { flags, private, loopback } => {
                let (kept, directories) = keep(*flags)?;
                step("unshare", || format!("unshare({})", names(*flags)), unshare(*flags as i32))?;
                (undo.namespaces, undo.directories) = (kept, directories);
                if *flags & kinds::MOUNT != 0 && *private {
                    let call = || "mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE, NULL)".into();
                    step("propagation", call, mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE))?;
                }
                if *flags & kinds::NET != 0 && *loopback {
                    step("loopback", || "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into(), loopback_up())?;
                }
                Ok(())
            }
            Change::Join(targets) => {
                let flags = targets.iter().fold(0, |flags, (flag, _)| flags | flag);
                let (mut kept, mut directories) = keep(flags)?;
                for &(flag, fd) in targets {
                    let call = || format!("setns({fd}, {})", names(flag));
                    step(join_step(flag), call, setns(fd, flag))?;
                    let own = kept.iter().position(|(kind, _)| *kind == flag).expect("one was kept for each");
                    undo.namespaces.push(kept.swap_remove(own));
                    if flag == kinds::MOUNT {
                        undo.directories = directories.take();
                    }
                }
                Ok(())
            }
            Change::MountProc(target) => {
                let pidns =
                    step("open own", || "ioctl(PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE)".into(), own_namespace("pid"))?;
                mount_proc(target, &pidns)?;
                let number = mount_number(target);
                undo.mounted = Some((target.clone(), number.unwrap_or_default()));
                Ok(())
            }
        }
    }
}
