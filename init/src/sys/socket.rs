//! Sockets: messages, and what is attached to them.

use core::mem::size_of;
use syscalls::{Sysno, syscall};

use linux_raw_sys::general as k;
use linux_raw_sys::{ioctl, net};
use nsbox_init::wire::MAX_DESCRIPTORS;

use super::errno::Result;
use super::files::close;
use super::memory::{map_memory, unmap};

/// Missing from linux-raw-sys (unix(7)).
const SCM_CREDENTIALS: u32 = 2;

/// One message, which is there already (recv(2)), and the descriptors that came with it: as many as `rights` has room
/// for, the others are closed by the kernel. Empty at the end of the connection.
pub fn receive(socket: i32, rights: &mut Rights) -> Result<&'static mut [u8]> {
    let none = core::ptr::null_mut::<u8>();
    let length = call!(recvfrom, socket, none, 0, net::MSG_PEEK | net::MSG_TRUNC | net::MSG_DONTWAIT, 0, 0)?;
    let memory = map_memory(length.max(1), false)?;
    match receive_into(socket, memory, rights) {
        Ok(length) => Ok(&mut memory[..length]),
        Err(errno) => {
            unmap(memory);
            Err(errno)
        }
    }
}

/// Receive a message into `memory`, and the descriptors that came with it.
pub fn receive_into(socket: i32, memory: &mut [u8], rights: &mut Rights) -> Result<usize> {
    let part = k::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() as _ };
    let mut message = net::msghdr {
        msg_name: core::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: (&raw const part) as *mut _,
        msg_iovlen: 1,
        msg_control: (&raw mut rights.header).cast(),
        msg_controllen: size_of::<Rights>() as _,
        msg_flags: 0,
    };
    rights.header.cmsg_len = 0;
    let flags = net::MSG_DONTWAIT | net::MSG_CMSG_CLOEXEC;
    let result = call!(recvmsg, socket, &raw mut message, flags);
    if message.msg_controllen == 0 {
        rights.header.cmsg_len = 0;
    }
    result
}

/// Descriptors that come with a message: a control message of the kind SCM_RIGHTS, alone (cmsg(3), unix(7)).
#[repr(C)]
pub struct Rights {
    header: net::cmsghdr,
    fds: [i32; MAX_DESCRIPTORS + 1],
}

impl Rights {
    /// Room for the largest number there can be.
    pub fn new() -> Self {
        let header = net::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 };
        Rights { header, fds: [-1; MAX_DESCRIPTORS + 1] }
    }

    /// Those that came.
    pub fn fds(&self) -> &[i32] {
        let header = size_of::<net::cmsghdr>();
        let length = self.header.cmsg_len.saturating_sub(header) / size_of::<i32>();
        let ours = self.header.cmsg_type == net::SCM_RIGHTS as i32;
        let count = if ours { length.min(MAX_DESCRIPTORS) } else { 0 };
        &self.fds[..count]
    }
}

/// What goes with a record (unix(7), SCM_RIGHTS and SCM_CREDENTIALS).
#[derive(Clone, Copy)]
pub struct Attached {
    /// A descriptor.
    pub fd: i32,
    /// The process in whose name it is sent, in our namespace; the kernel translates its PID for the receiver. Another
    /// process than this one takes CAP_SYS_ADMIN over the PID namespace.
    pub sender: Option<i32>,
}

/// Send one record.
pub fn send(socket: i32, bytes: &[u8], attached: Option<Attached>) -> Result<()> {
    #[repr(C)]
    struct Control {
        rights: net::cmsghdr,
        fd: i32,
        padding: i32,
        credentials: net::cmsghdr,
        /// `struct ucred`: pid, uid, gid.
        ids: [u32; 3],
        padding_too: u32,
    }
    const RIGHTS: usize = size_of::<net::cmsghdr>() + 8;
    let header = |length: usize, kind: u32| net::cmsghdr {
        cmsg_len: (size_of::<net::cmsghdr>() + length) as _,
        cmsg_level: net::SOL_SOCKET as i32,
        cmsg_type: kind as i32,
    };
    let Attached { fd, sender } = attached.unwrap_or(Attached { fd: -1, sender: None });
    let ids = match sender {
        Some(pid) => [pid as u32, call!(getuid)? as u32, call!(getgid)? as u32],
        None => [0; 3],
    };
    let control = Control {
        rights: header(size_of::<i32>(), net::SCM_RIGHTS),
        fd,
        padding: 0,
        credentials: header(size_of::<[u32; 3]>(), SCM_CREDENTIALS),
        ids,
        padding_too: 0,
    };
    let length = match (attached, sender) {
        (None, _) => 0,
        (_, None) => RIGHTS,
        _ => size_of::<Control>(),
    };
    let part = k::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() as _ };
    let message = net::msghdr {
        msg_name: core::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: (&raw const part) as *mut _,
        msg_iovlen: 1,
        msg_control: if length == 0 { core::ptr::null_mut() } else { (&raw const control) as *mut _ },
        msg_controllen: length as _,
        msg_flags: 0,
    };
    call!(sendmsg, socket, &raw const message, net::MSG_NOSIGNAL | net::MSG_DONTWAIT).map(drop)
}

/// Two connected ends, for messages (unix(7), SOCK_SEQPACKET).
pub fn socket_pair() -> Result<[i32; 2]> {
    let mut fds = [-1; 2];
    call!(socketpair, net::AF_UNIX, net::SOCK_SEQPACKET | k::O_CLOEXEC, 0, fds.as_mut_ptr())?;
    Ok(fds)
}

/// socket(2). It belongs to our network namespace, also when another process uses it.
pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<i32> {
    call!(socket, family, kind | k::O_CLOEXEC as i32, protocol).map(|fd| fd as i32)
}

/// Set the flag that `ip link set lo up` sets (netdevice(7)); the kernel adds 127.0.0.1 and ::1 by itself.
pub fn loopback_up() -> Result<()> {
    /// The part of `struct ifreq` that SIOCSIFFLAGS reads, and its full size.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    let mut request = Request { name: [0; 16], flags: net::net_device_flags::IFF_UP as i16, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    let socket = call!(socket, net::AF_INET, net::SOCK_DGRAM | k::O_CLOEXEC, 0)? as i32;
    let result = call!(ioctl, socket, ioctl::SIOCSIFFLAGS, &raw const request).map(drop);
    close(socket);
    result
}
