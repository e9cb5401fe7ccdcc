//! `nsbox._core`: a thin table of functions over plain frozen data. Each is documented where it is defined. Names,
//! defaults, texts and lifetimes are decided in the Python package.
//!
//! The folders, from the highest layer down (tests/test_rust_layers.py checks it):
//!
//! - `boxes`: making a box, and requests to it;
//! - `seeing`: reading processes, namespaces and IPC objects;
//! - `start`: carrying out a plan, from the clone to the end of the payload;
//! - `channel`: the connection to nsbox-init;
//! - `thread`: namespaces, calls and privileges of the calling thread;
//! - `plan`: from what is asked for to a list of steps.

mod boxes;
mod call;
mod capabilities;
mod cgroup;
mod channel;
mod descriptors;
mod error;
mod idmap;
mod image;
mod kinds;
mod owner;
mod pidfd;
mod plan;
mod poll;
mod probe;
mod python;
mod seccomp;
mod seeing;
mod signals;
mod start;
mod step_name;
mod thread;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::boxes::handle::BoxHandle;
    #[pymodule_export]
    use crate::boxes::open::open_box;
    #[pymodule_export]
    use crate::call::Call;
    #[pymodule_export]
    use crate::cgroup::Cgroup;
    #[pymodule_export]
    use crate::channel::event::Event;
    #[pymodule_export]
    use crate::channel::outcome::Outcome;
    #[pymodule_export]
    use crate::descriptors::Descriptor;
    #[pymodule_export]
    use crate::idmap::{copied_tree, idmap_tree};
    #[pymodule_export]
    use crate::kinds::{Kind, kinds};
    #[pymodule_export]
    use crate::owner::this_process;
    #[pymodule_export]
    use crate::plan::compile::{compile_box_plan, compile_plan, compile_process_plan};
    #[pymodule_export]
    use crate::plan::facts::{Facts, facts};
    #[pymodule_export]
    use crate::plan::flags::{MountFlag, mount_flags};
    #[pymodule_export]
    use crate::plan::harden::landlock_rule;
    #[pymodule_export]
    use crate::plan::id_maps::id_map_lines;
    #[pymodule_export]
    use crate::plan::launch::Launch;
    #[pymodule_export]
    use crate::plan::plan::Plan;
    #[pymodule_export]
    use crate::plan::request::Request;
    #[pymodule_export]
    use crate::plan::spec::SpecRead;
    #[pymodule_export]
    use crate::plan::view::StepView;
    #[pymodule_export]
    use crate::probe::{Probe, probe};
    #[pymodule_export]
    use crate::seeing::ipc::{IpcFiles, list_queues, read_ipc};
    #[pymodule_export]
    use crate::seeing::proc::handle::{Proc, ProcFile, open_proc, open_proc_of};
    #[pymodule_export]
    use crate::seeing::proc::numbering::boot_id;
    #[pymodule_export]
    use crate::seeing::proc::table::read_processes;
    #[pymodule_export]
    use crate::seeing::relations::{Relation, namespace_relations};
    #[pymodule_export]
    use crate::seeing::sockets::open_socket_namespace;
    #[pymodule_export]
    use crate::signals::{block_signals, set_signal_mask};
    #[pymodule_export]
    use crate::start::child::Child;
    #[pymodule_export]
    use crate::start::exit::Exit;
    #[pymodule_export]
    use crate::start::spawn::{run, spawn};
    #[pymodule_export]
    use crate::step_name::step_names;
    #[pymodule_export]
    use crate::thread::capabilities::keep_capabilities;
    #[pymodule_export]
    use crate::thread::prctl::{die_with_parent, is_child_subreaper, set_child_subreaper, set_dumpable};
    #[pymodule_export]
    use crate::thread::privileges::{change_ids, give_up_rights, shed_privileges};
    #[pymodule_export]
    use crate::thread::raw::{clone3, mount, pivot_root, setdomainname, sethostname, setns, umount2, unshare};
    #[pymodule_export]
    use crate::thread::scope::{ThreadScope, forget_scopes, in_foreign_mounts};

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "the name Python expects")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
