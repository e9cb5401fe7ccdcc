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
use crate::plan::rights::Rights;
use crate::plan::spec::{Mount, Root, Spec};
use crate::plan::step::Actor;
use crate::step_name::StepName;
use nsbox_init::wire::{MAX_KEPT, MaybeText, Op, Text, Texts};

/// Mounts are made by descriptors, and their attributes set by mount_setattr(2), since this version.
const BY_DESCRIPTOR: (u32, u32) = (5, 12);
/// Overlay takes its layers one by one since this version.
const LAYER_BY_LAYER: (u32, u32) = (6, 8);
/// Length of a value that fsconfig(2) takes, in bytes, without the NUL.
const MAX_VALUE: usize = 255;
/// Why sources have steps of their own.
const WHY_FIRST: &str = "looked up before anything is mounted, so that the order of mounts does not matter";
/// Why a new proc is mounted.
pub const WHY_PROC: &str = "a proc shows the PID namespace of the process that mounts it";

/// Who mounts, and where targets are looked up.
pub struct Place<'a> {
    /// Who mounts.
    pub actor: Actor,
    /// Whether there is a new root.
    pub inside: bool,
    /// Whether there is a new mount namespace.
    pub own_mounts: bool,
    /// Whether there is a new user namespace.
    pub unprivileged: bool,
    /// The caller.
    pub facts: &'a Facts,
    /// The ids of the programs.
    pub rights: &'a Rights,
}

impl Place<'_> {
    /// The steps that look up all sources and make the new root a mount point, then the mounts in their order, then a
    /// new proc.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a kernel that does not mount by descriptor.
    pub fn root_and_mounts(&self, plan: &mut Builder, spec: &Spec) -> Result<()> {
        if spec.root.is_some() {
            self.check("root")?;
        }
        if !spec.mounts.is_empty() {
            self.check("mounts")?;
        }
        self.sources(plan, spec);
        if let Some(root) = &spec.root {
            self.root(plan, root);
        }
        // Files in the new file systems get ids that exist inside.
        if self.unprivileged {
            self.rights.become_own(plan, self.actor);
        }
        for layer in spec.mounts.iter().filter(|mount| is_layer(mount, spec)) {
            self.layer(plan, layer);
        }
        self.overlays(plan, spec)?;
        if matches!(spec.root, Some(Root::Overlay { .. })) {
            let why = "its layers become the root";
            plan.op(self.actor, StepName::Root, Op::AttachRoot {}, "pivot_root(2)", why);
        }
        if spec.hardened.private_tmp {
            self.check("private_tmp")?;
            harden::private_tmp(plan, self.actor, self.inside);
        }
        if spec.hardened.new_session && self.own_mounts && self.facts.kernel >= BY_DESCRIPTOR {
            harden::private_pts(plan, self.actor, self.inside);
        }
        for mount in spec.mounts.iter().filter(|mount| !is_layer(mount, spec)) {
            self.mount(plan, mount);
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

    /// The steps that copy the sources of binds, in the order in which they are mounted later.
    fn sources(&self, plan: &mut Builder, spec: &Spec) {
        let mut kept = 0;
        for mount in &spec.mounts {
            if let Mount::Bind { source, idmap: true, tree, .. } = mount {
                // A box in a box has no descriptors of the caller: they are sent with its plan, in this order.
                let fd = if plan.outside == Actor::OuterInit { kept } else { *tree };
                kept += 1;
                let op = Op::KeepTree { fd, source: text(source) };
                let why = "copied by the caller, who may change its owners: files of root belong to root inside";
                plan.op(self.actor, StepName::Idmap, op, "mount_setattr(2)", why);
            } else if let Mount::Bind { source, recursive, .. } = mount {
                let op = Op::CopyTree { source: text(source), recursive: (*recursive).into() };
                plan.op(self.actor, StepName::Source, op, "open_tree(2)", WHY_FIRST);
            }
        }
    }

    /// The steps that make overlays, whose layers are looked up then, in the order in which they are mounted later.
    fn overlays(&self, plan: &mut Builder, spec: &Spec) -> Result<()> {
        if spec.mounts.len() >= MAX_KEPT {
            return Err(Error::Spec(format!(
                "mounts: {} are too many; {} are possible",
                spec.mounts.len(),
                MAX_KEPT - 1
            )));
        }
        if let Some(Root::Overlay { lower, upper, work, size }) = &spec.root {
            // In memory they are in the tmpfs that is the working directory while the overlay is made.
            let in_memory = (Path::new("upper"), Path::new("work"));
            let given = upper.as_deref().zip(work.as_deref());
            let options = self.layers("root", lower, Some(given.unwrap_or(in_memory)))?;
            let mut memory = Vec::new();
            if given.is_none() {
                memory = vec![("source", "tmpfs".into()), ("mode", "755".into())];
                memory.extend(size.map(|size| ("size", size.to_string().into())));
            }
            self.made_overlay(plan, options, memory);
        }
        for mount in &spec.mounts {
            if let Mount::Overlay { lower, upper, work, .. } = mount {
                let options = self.layers("mounts", lower, upper.as_deref().zip(work.as_deref()))?;
                self.made_overlay(plan, options, Vec::new());
            }
        }
        Ok(())
    }

    /// The step that covers a layer of the root by a copy with other owners.
    fn layer(&self, plan: &mut Builder, mount: &Mount) {
        if let Mount::Bind { source, target, recursive, read_only, dev, .. } = mount {
            let attributes = bind_attributes(*read_only, *dev);
            let (source, target, recursive) = (text(source), text(target), (*recursive).into());
            let op = Op::Bind { source, target, inside: 0, recursive, attributes };
            let why = "a layer of the root: the same files, which belong to the ids inside";
            plan.op(self.actor, StepName::Bind, op, "move_mount(2)", why);
        }
    }

    /// The step that makes an overlay.
    fn made_overlay(&self, plan: &mut Builder, options: Vec<(&str, OsString)>, memory: Vec<(&str, OsString)>) {
        let options = std::iter::once(("source", "overlay".into())).chain(options).collect();
        let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        let op = Op::Layers { options: texts(options), attributes, memory: texts(memory) };
        plan.op(self.actor, StepName::Layers, op, "mount(8)", WHY_FIRST);
    }

    /// The step that makes the new root a mount point, and the working directory.
    fn root(&self, plan: &mut Builder, root: &Root) {
        const WHY: &str = "only a mount point can become the root";
        let (path, attributes) = match root {
            Root::Path(path) => (path.to_vec(), 0),
            Root::Bind { source, read_only, dev } => {
                (source.as_os_str().as_bytes().to_vec(), bind_attributes(*read_only, *dev))
            }
            Root::Overlay { .. } => return,
        };
        let why =
            if attributes & MOUNT_ATTR_RDONLY == 0 { WHY } else { "the whole tree, with all mounts, is read-only" };
        let op = Op::NewRoot { path: Text(c_bytes(&path)), attributes };
        plan.op(self.actor, StepName::Root, op, "pivot_root(2)", why);
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
    fn mount(&self, plan: &mut Builder, mount: &Mount) {
        let inside = self.inside.into();
        match mount {
            Mount::Bind { source, target, read_only, recursive, dev, .. } => {
                let attributes = bind_attributes(*read_only, *dev);
                let (source, target, recursive) = (text(source), text(target), (*recursive).into());
                let op = Op::Bind { source, target, inside, recursive, attributes };
                let why = if *read_only { "the same files, read-only" } else { "the same files at another path" };
                plan.op(self.actor, StepName::Bind, op, "move_mount(2)", why);
            }
            Mount::Tmpfs { target, size, mode, inodes } => {
                let mut options = vec![("mode", format!("{mode:o}").into())];
                options.extend(size.map(|size| ("size", size.to_string().into())));
                options.extend(inodes.map(|inodes| ("nr_inodes", inodes.to_string().into())));
                let op = self.made("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, text(target));
                plan.op(self.actor, StepName::Tmpfs, op, "tmpfs(5)", "empty, and gone with the namespace");
            }
            Mount::Overlay { target, .. } => {
                let op = Op::Attach { target: text(target), inside };
                let why = "layers, of which only the upper one is written to";
                plan.op(self.actor, StepName::Overlay, op, "move_mount(2)", why);
            }
            Mount::Proc { target } => self.proc(plan, StepName::Proc, text(target)),
        }
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
        let options = std::iter::once(("source", fstype.into())).chain(options).collect();
        let fstype = Text(c_bytes(fstype.as_bytes()));
        Op::NewMount { fstype, options: texts(options), attributes, target, inside: self.inside.into() }
    }

    /// The options of an overlay. `option` is the one that asks for it, for errors.
    fn layers(
        &self,
        option: &str,
        lower: &[PathBuf],
        upper: Option<(&Path, &Path)>,
    ) -> Result<Vec<(&'static str, OsString)>> {
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
            options.push(("upperdir", upper.into()));
            options.push(("workdir", work.into()));
        }
        if let Some((name, value)) = options.iter().find(|(_, value)| value.len() > MAX_VALUE) {
            return Err(Error::Spec(format!(
                "{option}: {name} is longer than the {MAX_VALUE} bytes that fsconfig(2) takes: {}",
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

/// Whether a mount is a copy of a layer of the root, with other owners. Those come first, in the order of the layers.
fn is_layer(mount: &Mount, spec: &Spec) -> bool {
    match (mount, &spec.root) {
        (Mount::Bind { source, target, idmap: true, .. }, Some(Root::Overlay { lower, .. })) => {
            source == target && lower.contains(source)
        }
        _ => false,
    }
}

fn text(path: &Path) -> Text<Vec<u8>> {
    Text(c_bytes(path.as_os_str().as_bytes()))
}

fn bind_attributes(read_only: bool, dev: bool) -> u64 {
    let (dev, read_only) = (if dev { 0 } else { MOUNT_ATTR_NODEV }, if read_only { MOUNT_ATTR_RDONLY } else { 0 });
    MOUNT_ATTR_NOSUID | dev | read_only
}

/// Names and values in turn, as they are sent.
fn texts(options: Vec<(&str, OsString)>) -> Texts<Vec<u8>> {
    let count = 2 * options.len() as u32;
    let joined = options.iter().flat_map(|(name, value)| [c_bytes(name.as_bytes()), c_bytes(value.as_bytes())]);
    Texts { count, joined: joined.flatten().collect() }
}
