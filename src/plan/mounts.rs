//! The steps that make a new root and the mounts in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::plan::builder::{Builder, c_bytes};
use crate::plan::facts::Facts;
use crate::plan::flags::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_NODEV, MS_NOEXEC, MS_NOSUID,
};
use crate::plan::harden;
use crate::plan::spec::{Mount, Spec};
use crate::plan::step::Actor;
use crate::step_name::StepName;
use nsbox_init::wire::{MaybeText, Op, Text, Texts};

/// Mounts are made by descriptors, and their attributes set by mount_setattr(2), since this version.
const BY_DESCRIPTOR: (u32, u32) = (5, 12);
/// Overlay takes its layers one by one since this version.
const LAYER_BY_LAYER: (u32, u32) = (6, 8);
/// Length of a value that fsconfig(2) takes, in bytes, without the NUL.
const MAX_VALUE: usize = 255;
/// Why a new proc is mounted.
pub const WHY_PROC: &str = "a proc shows the PID namespace of the process that mounts it";

/// Who mounts, and where targets are looked up.
pub struct Place<'a> {
    /// Who mounts.
    pub actor: Actor,
    /// Whether there is a new root.
    pub inside: bool,
    /// Whether there is a new user namespace.
    pub unprivileged: bool,
    /// The caller.
    pub facts: &'a Facts,
}

impl Place<'_> {
    /// The steps that make the directory of the new root a mount point, then the mounts in their order, then a new proc.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a kernel that does not mount by descriptor.
    pub fn root_and_mounts(&self, plan: &mut Builder, spec: &Spec) -> Result<()> {
        if let Some(root) = &spec.root {
            self.check("root")?;
            let op = Op::NewRoot { path: Text(c_bytes(root)) };
            plan.op(self.actor, StepName::Root, op, "pivot_root(2)", "only a mount point can become the root");
        }
        if spec.hardened.private_tmp {
            self.check("private_tmp")?;
            harden::private_tmp(plan, self.actor, self.inside);
        }
        for mount in &spec.mounts {
            self.check("mounts")?;
            self.mount(plan, mount)?;
        }
        // The old proc must still be there: a user namespace may mount a new one only where one is seen as a whole.
        if let Some(target) = &spec.mount_proc {
            let target = Text(c_bytes(target));
            if self.inside {
                self.proc(plan, StepName::MountProc, target);
            } else {
                let (source, fstype) = (MaybeText(c_bytes(b"proc")), MaybeText(c_bytes(b"proc")));
                let op = Op::Mount { source, target, fstype, flags: MS_NOSUID | MS_NODEV | MS_NOEXEC };
                plan.op(self.actor, StepName::MountProc, op, "proc(5)", WHY_PROC);
            }
        }
        Ok(())
    }

    /// The exchange of roots, if there is a new one.
    pub fn pivot_root(&self, plan: &mut Builder) {
        if self.inside {
            let why = "from here on no path leads to the old root";
            plan.op(self.actor, StepName::PivotRoot, Op::PivotRoot {}, "pivot_root(2)", why);
        }
    }

    /// Refuse what this kernel cannot do.
    fn check(&self, option: &str) -> Result<()> {
        let (major, minor) = self.facts.kernel;
        if self.facts.kernel < BY_DESCRIPTOR {
            return Err(Error::Unsupported(format!("{option}: needs Linux 5.12, and this is {major}.{minor}")));
        }
        Ok(())
    }

    /// The step for one mount.
    fn mount(&self, plan: &mut Builder, mount: &Mount) -> Result<()> {
        match mount {
            Mount::Bind { source, target, read_only, recursive, dev } => {
                let attributes = MOUNT_ATTR_NOSUID
                    | if *dev { 0 } else { MOUNT_ATTR_NODEV }
                    | if *read_only { MOUNT_ATTR_RDONLY } else { 0 };
                let op = Op::Bind {
                    source: text(source),
                    target: text(target),
                    inside: self.inside.into(),
                    recursive: (*recursive).into(),
                    attributes,
                };
                let why = if *read_only { "the same files, read-only" } else { "the same files at another path" };
                plan.op(self.actor, StepName::Bind, op, "open_tree(2)", why);
            }
            Mount::Tmpfs { target, size, mode, inodes } => {
                let mut options = vec![("mode", format!("{mode:o}").into())];
                options.extend(size.map(|size| ("size", size.to_string().into())));
                options.extend(inodes.map(|inodes| ("nr_inodes", inodes.to_string().into())));
                let op = self.made("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, text(target));
                plan.op(self.actor, StepName::Tmpfs, op, "tmpfs(5)", "empty, and gone with the namespace");
            }
            Mount::Overlay { target, lower, upper, work } => {
                let options = self.layers(lower, upper.as_ref().zip(work.as_ref()))?;
                let op = self.made("overlay", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, text(target));
                plan.op(
                    self.actor,
                    StepName::Overlay,
                    op,
                    "mount(8)",
                    "layers, of which only the upper one is written to",
                );
            }
            Mount::Proc { target } => self.proc(plan, StepName::Proc, text(target)),
        }
        Ok(())
    }

    /// The step for a new proc.
    fn proc(&self, plan: &mut Builder, name: StepName, target: Text<Vec<u8>>) {
        let op = self.made("proc", Vec::new(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, target);
        plan.op(self.actor, name, op, "proc(5)", WHY_PROC);
    }

    fn made(
        &self,
        fstype: &str,
        options: Vec<(&str, OsString)>,
        attributes: u64,
        target: Text<Vec<u8>>,
    ) -> Op<Vec<u8>> {
        let options = std::iter::once(("source", fstype.into())).chain(options).collect::<Vec<_>>();
        let count = 2 * options.len() as u32;
        let joined = options.iter().flat_map(|(name, value)| [c_bytes(name.as_bytes()), c_bytes(value.as_bytes())]);
        Op::NewMount {
            fstype: Text(c_bytes(fstype.as_bytes())),
            options: Texts { count, joined: joined.flatten().collect() },
            attributes,
            target,
            inside: self.inside.into(),
        }
    }

    fn layers(&self, lower: &[PathBuf], upper: Option<(&PathBuf, &PathBuf)>) -> Result<Vec<(&'static str, OsString)>> {
        let mut options = Vec::new();
        if self.facts.kernel >= LAYER_BY_LAYER {
            options.extend(lower.iter().map(|layer| ("lowerdir+", layer.clone().into_os_string())));
        } else {
            let escaped = lower.iter().map(|layer| {
                let bytes = layer.as_os_str().as_bytes().iter();
                bytes.flat_map(|&byte| (b":\\".contains(&byte)).then_some(b'\\').into_iter().chain([byte])).collect()
            });
            let joined = escaped.collect::<Vec<Vec<u8>>>().join(&b':');
            options.push(("lowerdir", std::ffi::OsStr::from_bytes(&joined).to_os_string()));
        }
        if let Some((upper, work)) = upper {
            options.push(("upperdir", upper.clone().into_os_string()));
            options.push(("workdir", work.clone().into_os_string()));
        }
        if let Some((name, value)) = options.iter().find(|(_, value)| value.len() > MAX_VALUE) {
            return Err(Error::Spec(format!(
                "mounts: {name} is longer than the {MAX_VALUE} bytes that fsconfig(2) takes: {}",
                value.display()
            )));
        }
        if self.unprivileged {
            // Without it overlay uses extended attributes that take CAP_SYS_ADMIN outside (xattr(7)).
            options.push(("userxattr", OsString::new()));
        }
        Ok(options)
    }
}

fn text(path: &Path) -> Text<Vec<u8>> {
    Text(c_bytes(path.as_os_str().as_bytes()))
}
