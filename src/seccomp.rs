//! The filter for system calls of a hardened payload, as instructions of classic BPF (seccomp(2)).
//!
//! It is a list of what is refused. What a program needs the least, and what has let programs out of sandboxes, is in
//! it: mounts, namespaces, keyrings, modules, tracing, and interfaces with many faults in the past. The kernel checks
//! rights all the same; the filter is a second line in front of it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

/// The two filters: a filter of `seccompiler` has one action for all that it refuses.
pub struct Filters {
    /// What fails with EPERM.
    pub denied: Vec<u8>,
    /// What fails with ENOSYS, for which programs have another way.
    pub missing: Vec<u8>,
}

/// The filters, which are compiled once.
pub fn filters() -> &'static Filters {
    static FILTERS: OnceLock<Filters> = OnceLock::new();
    FILTERS
        .get_or_init(|| Filters { denied: compiled(denied(), libc::EPERM), missing: compiled(missing(), libc::ENOSYS) })
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused whatever the arguments are.
const ALWAYS: &[c_long] = &[
    // Mounts, and other roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // Namespaces of others.
    libc::SYS_setns,
    // Files by handle, which ignore the directories above them.
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Keyrings, which no namespace separates.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Memory and descriptors of other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // What others do with files that are shown here.
    libc::SYS_fanotify_init,
    // Large interfaces of the kernel that few programs need.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    // Its clocks.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// open_tree_attr(2), Linux 6.15; the same number on every architecture.
const SYS_OPEN_TREE_ATTR: c_long = 467;

/// The calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const OF_THE_ARCHITECTURE: &[c_long] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const OF_THE_ARCHITECTURE: &[c_long] = &[];

/// All other families are large interfaces that few programs need, and a socket of one loads its module. Some belong to
/// no network namespace, such as AF_VSOCK, to the hypervisor, and AF_ALG.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// The protocols of AF_NETLINK for addresses, sockets, and by name. Others show the machine in the first network
/// namespace: the connector (11) shows which processes start and end, whatever their PID namespace is.
const NETLINK_PROTOCOLS: [i32; 3] = [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG, libc::NETLINK_GENERIC];
/// asm-generic/ioctls.h: they type into a terminal, or take its output or its discipline, whose module is loaded.
const TERMINAL_REQUESTS: [u64; 4] = [0x5412, 0x541c, 0x541d, 0x5423];
/// FIOASYNC, as O_ASYNC: signals for input, which for a terminal go to its foreground processes, the caller's. So for a
/// program of the same user, whatever its session and its PID namespace are.
const ASYNC_REQUEST: u64 = 0x5452;
/// fcntl(2): which signal that is.
const F_SETSIG: i32 = 10;
/// USERFAULTFD_IOC_NEW of /dev/userfaultfd and KVM_CREATE_VM of /dev/kvm, which every user may open on many machines.
const DEVICE_REQUESTS: [u64; 2] = [0xaa00, 0xae01];
/// What unshare(2) may change: descriptors, the working directory, and System V semaphores of this process.
const UNSHARED: u32 = (libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_SYSVSEM) as u32;
/// The newest system call that this list takes into account, file_setattr(2) of Linux 6.17. The same number on every
/// architecture; later ones are not implemented, as on the kernel for which the list was made.
const NEWEST: u32 = 469;
/// CLONE_NEWTIME is a part of the signal for clone(2), and a flag for unshare(2) alone, which may have no other either.
const NEW_NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// What programs use: Linux as it is, 32 bits, the version number of old kernels, both, and a question.
const USUAL_PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

fn denied() -> Rules {
    let mut rules: Rules = ALWAYS.iter().chain(OF_THE_ARCHITECTURE).map(|&call| (call, Vec::new())).collect();
    let flag = |flag: i32| rule(vec![compare(0, SeccompCmpOp::MaskedEq(flag as u64), flag as u64)]);
    rules.insert(libc::SYS_clone, NEW_NAMESPACES.map(flag).into());
    let others = (0..32).map(|bit| 1u32 << bit).filter(|bit| bit & UNSHARED == 0);
    rules.insert(libc::SYS_unshare, others.map(|bit| flag(bit as i32)).collect());
    let requests = TERMINAL_REQUESTS.into_iter().chain([ASYNC_REQUEST]).chain(DEVICE_REQUESTS);
    rules.insert(libc::SYS_ioctl, requests.map(|one| rule(vec![compare(1, SeccompCmpOp::Eq, one)])).collect());
    let command = |number: i32| compare(1, SeccompCmpOp::Eq, number as u64);
    let asynchronous = compare(2, SeccompCmpOp::MaskedEq(libc::O_ASYNC as u64), libc::O_ASYNC as u64);
    let signals = vec![rule(vec![command(libc::F_SETFL), asynchronous]), rule(vec![command(F_SETSIG)])];
    rules.insert(libc::SYS_fcntl, signals);
    let unusual = USUAL_PERSONALITIES.map(|personality| compare(0, SeccompCmpOp::Ne, personality));
    rules.insert(libc::SYS_personality, vec![rule(unusual.into())]);
    rules.extend([libc::SYS_socket, libc::SYS_socketpair].map(|call| (call, sockets())));
    rules.extend(set_id_files());
    rules
}

/// Other families, and other protocols of AF_NETLINK.
fn sockets() -> Vec<SeccompRule> {
    let none_of = |argument, known: &[i32]| -> Vec<SeccompCondition> {
        known.iter().map(|&one| compare(argument, SeccompCmpOp::Ne, one as u64)).collect()
    };
    let mut netlink = none_of(2, &NETLINK_PROTOCOLS);
    netlink.push(compare(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64));
    vec![rule(none_of(0, &FAMILIES)), rule(netlink)]
}

/// Calls for which programs have another way, or do without.
fn missing() -> Rules {
    let core = |argument| compare(argument, SeccompCmpOp::Eq, u64::from(libc::RLIMIT_CORE));
    let new = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0);
    let changes = vec![core(1), new.expect("a system call has six arguments")];
    Rules::from([
        (libc::SYS_clone3, Vec::new()),
        (libc::SYS_openat2, Vec::new()),
        // The limit that `harden` sets keeps the kernel from starting a handler of core dumps outside, as root (core(5));
        // a lower one does not.
        (libc::SYS_setrlimit, vec![rule(vec![core(0)])]),
        (libc::SYS_prlimit64, vec![rule(changes)]),
    ])
}

/// Calls that set permissions, with the number of that argument.
const SETTING_MODES: [(c_long, u8); 4] =
    [(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (SYS_FCHMODAT2, 2), (libc::SYS_mknodat, 2)];
#[cfg(target_arch = "x86_64")]
const OLD_SETTING_MODES: &[(c_long, u8)] = &[(libc::SYS_chmod, 1), (libc::SYS_mknod, 1), (libc::SYS_creat, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OLD_SETTING_MODES: &[(c_long, u8)] = &[];
/// Calls that open files, with the numbers of the flags and the permissions. openat2(2) has them in memory, where a
/// filter cannot look, so it is missing.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(c_long, u8, u8)] = &[(libc::SYS_openat, 2, 3), (libc::SYS_open, 1, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(c_long, u8, u8)] = &[(libc::SYS_openat, 2, 3)];
/// fchmodat2(2), Linux 6.6; the same number on every architecture.
const SYS_FCHMODAT2: c_long = 452;

/// No set-user-ID or set-group-ID program is made: outside, where a file can belong to the caller, whoever executes it
/// would get the caller's rights.
fn set_id_files() -> Rules {
    let bits = [libc::S_ISUID, libc::S_ISGID].map(u64::from);
    let has = |argument, bit: u64| compare(argument, SeccompCmpOp::MaskedEq(bit), bit);
    let modes = SETTING_MODES.iter().chain(OLD_SETTING_MODES);
    let modes = modes.map(|&(call, mode)| (call, bits.map(|bit| rule(vec![has(mode, bit)])).into()));
    let making = [libc::O_CREAT as u64, (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64];
    let opening = OPENING.iter().map(|&(call, flags, mode)| {
        let each = making.into_iter().flat_map(|made| bits.map(|bit| rule(vec![has(flags, made), has(mode, bit)])));
        (call, each.collect())
    });
    modes.chain(opening).collect()
}

/// Compare the lower half of an argument: the kernel ignores the upper one of these, so a filter must too
/// (CVE-2019-10063).
fn compare(argument: u8, how: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value).expect("a system call has six arguments")
}

fn rule(all: Vec<SeccompCondition>) -> SeccompRule {
    SeccompRule::new(all).expect("a rule has a condition")
}

/// The rules as instructions. A process of another architecture is killed (`seccompiler` adds that).
fn compiled(rules: Rules, errno: i32) -> Vec<u8> {
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture that nsbox is built for");
    let refuse = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("fewer rules than a filter has room for");
    later().iter().chain(&program).flat_map(bytes).collect()
}

/// Later calls fail with ENOSYS. So do those of the x32 ABI, as on a kernel without it: they have numbers of their own,
/// from 0x40000000 on, and the same architecture, so to a filter that compares numbers they are unknown calls.
fn later() -> [sock_filter; 3] {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_GREATER: u16 = 0x25;
    const RETURN: u16 = 0x06;
    const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        instruction(LOAD_NUMBER, 0, 0, 0),
        instruction(JUMP_IF_GREATER, 0, 1, NEWEST),
        instruction(RETURN, 0, 0, SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

fn bytes(instruction: &sock_filter) -> [u8; 8] {
    let [a, b] = instruction.code.to_ne_bytes();
    let [c, d, e, f] = instruction.k.to_ne_bytes();
    [a, b, instruction.jt, instruction.jf, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_whole_instructions_and_have_room() {
        for filter in [&filters().denied, &filters().missing] {
            assert_eq!(filter.len() % 8, 0);
            assert!(filter.len() / 8 <= 4096);
        }
    }
}
