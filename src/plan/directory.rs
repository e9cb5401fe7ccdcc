//! The working directory after the mounts.
//!
//! A process inherits its working directory as a reference. If something was mounted on it, or on a directory above, the
//! reference leads around the new mount: to files that are to be hidden, or may only be read. So the directory is looked
//! up anew, by its path.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nsbox_init::wire::{Op, Text};

use crate::error::{Error, Result};
use crate::kinds;
use crate::plan::builder::{Builder, c_bytes};
use crate::plan::facts::Facts;
use crate::plan::spec::{Root, Spec};
use crate::plan::step::Actor;
use crate::step_name::StepName;

/// The path at which the caller's working directory is looked up after the mounts of `spec`; `None` where it is
/// inherited, or where the new root is the working directory.
///
/// # Errors
/// [`Error::Spec`] for a working directory without a path.
pub fn anew(spec: &Spec, joined: u64, facts: &Facts) -> Result<Option<Vec<u8>>> {
    let below_proc = || facts.directory.as_ref().is_some_and(|directory| directory.starts_with("/proc"));
    let is_mounted_on = match &spec.root {
        // A joined mount namespace starts at its root.
        _ if joined & kinds::MOUNT != 0 => false,
        Some(Root::Bind { source, .. }) => source == Path::new("/"),
        Some(_) => false,
        None if !spec.mounts.is_empty() => true,
        // The usual place is no symbolic link, so nothing else is covered.
        None => spec.mount_proc.as_ref().is_some_and(|target| &**target != b"/proc" || below_proc()),
    };
    if !is_mounted_on {
        return Ok(None);
    }
    let path = facts.directory.as_ref().map(|directory| directory.as_os_str().as_bytes().to_vec());
    let gone = "cwd: the working directory of the caller has been removed, and cannot be looked up after the mounts; \
                name another one, such as cwd=\"/\"";
    path.map(Some).ok_or_else(|| Error::Spec(gone.into()))
}

/// Add the step that goes to the directory asked for, or back to the caller's, if there is one.
pub fn step(plan: &mut Builder, actor: Actor, asked: Option<&[u8]>, why: &'static str) {
    let (name, path, why) = match (asked, &plan.directory) {
        (Some(asked), Some(anew)) => (StepName::Chdir, Path::new(as_path(anew)).join(as_path(asked)), why),
        (Some(asked), None) => (StepName::Chdir, as_path(asked).into(), why),
        (None, Some(anew)) => {
            (StepName::Directory, as_path(anew).into(), "looked up anew: the inherited one leads around the mounts")
        }
        (None, None) => return,
    };
    let op = Op::Chdir { path: Text(c_bytes(path.as_os_str().as_bytes())) };
    plan.op(actor, name, op, "chdir(2)", why);
}

fn as_path(bytes: &[u8]) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(bytes)
}
