//! The operations that any process can carry out: init itself, and the payload's process before its exec.

use linux_raw_sys::general::O_WRONLY;
use nsbox_init::hardening;
use nsbox_init::wire::{Op, Report};

use crate::cgroup;
use crate::descriptors;
use crate::join::{become_root, used};
use crate::layers;
use crate::mounts::{self, Mounting};
use crate::report::Channel;
use crate::sys::{self, Attached, Errno, Result};

/// Carry out one operation. The second number of an error says more where one number can (a descriptor, or which part).
pub fn operation(
    channel: &Channel,
    mounting: &mut Mounting,
    op: &Op<&'static [u8]>,
) -> core::result::Result<(), (Errno, i64)> {
    let plain = |result: Result<()>| result.map_err(|errno| (errno, 0));
    match op {
        Op::Unshare { flags } => plain(sys::unshare(*flags)),
        Op::AwaitMaps {} => {
            channel.await_maps();
            Ok(())
        }
        Op::Write { path, data } => write_file(path.0, data.0),
        Op::Mount { source, target, fstype, flags } => {
            let some = |text: &'static [u8]| (!text.is_empty()).then_some(text);
            plain(sys::mount(some(source.0), target.0, some(fstype.0), *flags))
        }
        Op::Unmount { target, flags } => plain(sys::unmount(target.0, *flags)),
        Op::SetHostname { name } => plain(sys::sethostname(name.0)),
        Op::SetDomainname { name } => plain(sys::setdomainname(name.0)),
        Op::LoopbackUp {} => plain(sys::loopback_up()),
        Op::Setsid {} => plain(sys::setsid()),
        Op::Setpgid { group } => plain(sys::setpgid(*group)),
        Op::ControllingTerminal {} => plain(sys::take_terminal()),
        Op::Descriptors { stdio, pass, close } => descriptors::arrange(*stdio, pass.iter(), *close != 0),
        Op::Chdir { path } => plain(sys::chdir(path.0.as_ptr())),
        Op::Umask { mask } => plain(sys::umask(*mask).map(drop)),
        Op::Setgroups { groups } => plain(sys::setgroups(groups.0)),
        Op::Setgid { id } => plain(sys::setgid(*id)),
        Op::Setuid { id, keep_caps } => plain(sys::keep_permitted(*keep_caps != 0).and_then(|()| sys::setuid(*id))),
        Op::Capabilities { inheritable, ambient } => plain(sys::set_capabilities(*inheritable, *ambient)),
        Op::NoNewPrivs {} => plain(hardening::no_new_privs()),
        Op::SessionKeyring {} => plain(hardening::session_keyring()),
        Op::LimitCapabilities { keep } => plain(hardening::limit_capabilities(*keep)),
        Op::Seccomp { denied, missing } => {
            plain(hardening::seccomp(missing.0).and_then(|()| hardening::seccomp(denied.0)))
        }
        Op::Landlock { writable, scopes } => plain(hardening::landlock(writable.iter(), *scopes)),
        Op::Mask { hidden, read_only, inside } => mounts::mask(hidden, read_only, *inside != 0),
        Op::PrivateMount { fstype, options, attributes, target, inside } => {
            mounts::private_mount(mounting, fstype.0, options, *attributes, target.0, *inside != 0)
        }
        Op::NewRoot { path, attributes } => mounts::root(path.0, *attributes),
        Op::KeepTree { fd, .. } => mounting.keep(*fd),
        Op::CopyTree { source, recursive } => mounts::copy_tree(mounting, source.0, *recursive != 0),
        Op::Layers { options, attributes, memory } => {
            if let Some(upper) = layers::make(mounting, options, *attributes, memory)? {
                // A caller that does not receive it has ended the start.
                let _ = channel.send(Report::Layer, Some(Attached { fd: upper.0, sender: None }));
            }
            Ok(())
        }
        Op::Attach { target, inside } => mounts::attach_next(mounting, target.0, *inside != 0),
        Op::AttachRoot {} => mounts::attach_root(mounting),
        Op::Bind { target, inside, recursive, attributes, .. } => {
            mounts::bind(mounting, target.0, *inside != 0, *recursive != 0, *attributes)
        }
        Op::NewMount { fstype, options, attributes, target, inside } => {
            mounts::mount(mounting, fstype.0, options, *attributes, target.0, *inside != 0)
        }
        Op::PivotRoot {} => mounts::pivot(),
        Op::JoinCgroup { procs } => plain(cgroup::join(*procs)),
        Op::Rlimit { resource, soft, hard } => plain(sys::limit(*resource, [*soft, *hard])),
        Op::Setns { fd, flags } => plain(used(*fd, sys::setns(*fd, *flags))),
        Op::BecomeRoot { strict } => plain(become_root(*strict != 0)),
        Op::Chroot { fd } => plain(used(*fd, sys::fchdir(*fd).and_then(|()| sys::chroot(c".".as_ptr().cast())))),
        Op::Fchdir { fd } => plain(used(*fd, sys::fchdir(*fd))),
        // Carried out elsewhere: in interpreter.rs, payload.rs, launch.rs or, for a box, serve.rs and helper.rs.
        Op::Fork { .. }
        | Op::Cgroup { .. }
        | Op::Signals { .. }
        | Op::Exec { .. }
        | Op::Descend { .. }
        | Op::Serve {}
        | Op::Start { .. }
        | Op::Received { .. }
        | Op::CopyInit {}
        | Op::NewUser {}
        | Op::NewTime {}
        | Op::ClockOffsets { .. }
        | Op::WriteMap { .. }
        | Op::Copy { .. }
        | Op::OpenProc { .. }
        | Op::SendTree { .. }
        | Op::Read { .. }
        | Op::OpenOwn { .. }
        | Op::WriteOwn { .. }
        | Op::Detached { .. }
        | Op::DetachedProc { .. }
        | Op::AbortFuse { .. }
        | Op::Abort { .. }
        | Op::Socket { .. }
        | Op::Reap { .. } => Ok(()),
    }
}

/// A single write(2), as the files of /proc require. The second number of an error: 0 open, 1 write.
fn write_file(path: &[u8], data: &[u8]) -> core::result::Result<(), (Errno, i64)> {
    let fd = sys::open_at_once(path.as_ptr(), O_WRONLY).map_err(|errno| (errno, 0))?;
    write_and_close(fd, data).map_err(|errno| (errno, 1))
}

/// The whole of `data` in a single write(2).
pub fn write_and_close(fd: i32, data: &[u8]) -> Result<()> {
    let result = match sys::write(fd, data) {
        Ok(written) if written == data.len() => Ok(()),
        Ok(_) => Err(sys::EIO),
        Err(errno) => Err(errno),
    };
    sys::close(fd);
    result
}
