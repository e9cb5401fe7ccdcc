//! What a scope changes for the calling thread.

use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};

use crate::call::{Call, Value, call};
use crate::kinds::{self, kinds_of};
use crate::plan::calls;
use crate::plan::flags::{MS_PRIVATE, MS_REC};
use crate::step_name::StepName;
use crate::thread::calls::{
    Failed, directory, loopback_up, mount, mount_number, mount_proc, own_namespace, setns, unshare,
};
use crate::thread::undo::{Undo, join_step};

/// The namespaces and directories that are about to be left.
type Origin = (Vec<(u64, OwnedFd)>, Option<[OwnedFd; 2]>);

/// What a scope does.
pub enum Change {
    Unshare { flags: u64, private: bool, loopback: bool },
    Join(Vec<(u64, RawFd)>),
    MountProc(CString),
}

/// Open the namespaces the thread is in, and where the mounts are among them its directories. Its root, its working
/// directory and its umask are no longer those of other threads then (CLONE_FS), which is for good: the kernel would
/// not let the thread change its mount namespace otherwise, and it could not share them again.
fn keep(flags: u64) -> std::result::Result<Origin, Failed> {
    let mut namespaces = Vec::new();
    for kind in kinds_of(flags) {
        let fd = own_namespace(kind.name);
        namespaces.push((kind.flag, step(StepName::OpenOwn, || get_namespace(kind.name), fd)?));
    }
    let directories = if flags & kinds::MOUNT != 0 {
        let root = step(StepName::OpenOwn, || open_path("/"), directory(c"/"))?;
        let cwd = step(StepName::OpenOwn, || open_path("."), directory(c"."))?;
        step(StepName::Unshare, || call("unshare", [("flags", Value::constant("CLONE_FS"))]), unshare(libc::CLONE_FS))?;
        Some([root, cwd])
    } else {
        None
    };
    Ok((namespaces, directories))
}

fn step<T>(
    name: StepName,
    call: impl FnOnce() -> Call,
    done: std::result::Result<T, i32>,
) -> std::result::Result<T, Failed> {
    done.map_err(|errno| (name, call(), errno))
}

fn get_namespace(name: &str) -> Call {
    let request = format!("PIDFD_GET_{}_NAMESPACE", name.to_uppercase());
    call("ioctl", [("op", Value::Flags(vec![request.into()]))])
}

fn open_path(path: &'static str) -> Call {
    call("open", [("path", Value::text(path)), ("flags", Value::constant("O_PATH"))])
}

impl Change {
    /// Carry it out, and note in `undo` what has been done so far.
    pub fn apply(&self, undo: &mut Undo) -> std::result::Result<(), Failed> {
        match self {
            Change::Unshare { flags, private, loopback } => {
                let (kept, directories) = keep(*flags)?;
                step(StepName::Unshare, || calls::unshare(*flags), unshare(*flags as i32))?;
                (undo.namespaces, undo.directories) = (kept, directories);
                if *flags & kinds::MOUNT != 0 && *private {
                    step(
                        StepName::Propagation,
                        || calls::mount(b"", b"/", b"", MS_REC | MS_PRIVATE),
                        mount(None, c"/", None, MS_REC | MS_PRIVATE),
                    )?;
                }
                if *flags & kinds::NET != 0 && *loopback {
                    step(StepName::Loopback, calls::loopback_up, loopback_up())?;
                }
                Ok(())
            }
            Change::Join(targets) => {
                let flags = targets.iter().fold(0, |flags, (flag, _)| flags | flag);
                let (mut kept, mut directories) = keep(flags)?;
                for &(flag, fd) in targets {
                    let call = || calls::setns(fd, flag);
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
                let pidns = step(StepName::OpenOwn, || get_namespace("pid_for_children"), own_namespace("pid"))?;
                mount_proc(target, &pidns)?;
                let number = mount_number(target);
                undo.mounted = Some((target.clone(), number.unwrap_or_default()));
                Ok(())
            }
        }
    }
}
