//! The process table, as records.

use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;

use crate::channel::inits::Inits;
use crate::error::{Error, Result, os_error};
use crate::seeing::proc::dir::Errno;
use crate::seeing::proc::handle::Proc;
use crate::seeing::proc::reader::{self, Found, Wanted};
use crate::seeing::proc::record::{Classes, Maker};
use crate::seeing::sockets::{Socket, namespaces_of};

/// Read all processes of a proc in the order in which it lists them, or only `pids`, in that order.
///
/// `classes` are those of the records, `sources` the files besides stat. Returned are the records and the PIDs of
/// processes that are listed but may not be looked at (hidepid). Processes that end meanwhile are left out.
#[pyfunction]
#[pyo3(signature = (proc, classes, sources, *, pids=None))]
pub fn read_processes<'py>(
    py: Python<'py>,
    proc: &Proc,
    classes: Classes<'py>,
    sources: Vec<String>,
    pids: Option<Vec<i32>>,
) -> Result<(Vec<Bound<'py, PyAny>>, Vec<i32>)> {
    let wanted = wanted(&sources)?;
    let inits = Inits::find();
    let (found, numbering) = py
        .detach(|| {
            let numbering = proc.numbering();
            let mut found = reader::read(&proc.directory, &numbering, pids, wanted)?;
            found.add_namespaces(&inits);
            if wanted.sockets {
                ask_sockets(&mut found);
            }
            Ok((found, numbering))
        })
        .map_err(|errno: Errno| os_error(errno, proc.path.clone()))?;
    let mut maker = Maker::new(py, classes, wanted, &numbering)?;
    let records = found.processes.iter().map(|process| maker.process(process)).collect::<PyResult<Vec<_>>>()?;
    Ok((records, found.hidden))
}

/// Ask for the network namespaces of all sockets; once for a socket of several processes, as they inherit each other's.
fn ask_sockets(found: &mut Found) {
    let mut asked = HashSet::new();
    let mut sockets = Vec::new();
    for process in &found.processes {
        let Some(pid) = process.outside else { continue };
        let new = process.sockets.iter().flatten().filter(|socket| asked.insert(socket.inode));
        sockets.extend(new.map(|socket| Socket { pid, fd: socket.fd, inode: socket.inode }));
    }
    if sockets.is_empty() {
        return;
    }
    let inodes: Vec<_> = sockets.iter().map(|socket| socket.inode).collect();
    let namespaces: HashMap<_, _> = inodes.into_iter().zip(namespaces_of(sockets)).collect();
    for socket in found.processes.iter_mut().flat_map(|process| process.sockets.iter_mut().flatten()) {
        socket.namespace = namespaces.get(&socket.inode).copied().flatten();
    }
}

fn wanted(sources: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    for source in sources {
        *match source.as_str() {
            "status" => &mut wanted.status,
            "pids" => &mut wanted.pids,
            "cmdline" => &mut wanted.cmdline,
            "namespaces" => &mut wanted.namespaces,
            "for_children" => &mut wanted.for_children,
            "descriptors" => &mut wanted.descriptors,
            "sockets" => &mut wanted.sockets,
            "exe" => &mut wanted.exe,
            "cwd" => &mut wanted.cwd,
            "cgroup" => &mut wanted.cgroup,
            "label" => &mut wanted.label,
            "threads" => &mut wanted.threads,
            other => return Err(Error::Spec(format!("sources: there is no {other:?}"))),
        } = true;
    }
    Ok(wanted)
}
