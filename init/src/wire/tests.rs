//! Every plan is read as it was written, and a damaged plan is refused or is another plan from end to end. The plans
//! are made at random, from seeds that are always the same: a failure names the seed and can be repeated.

use super::fields::*;
use super::plan::*;
use super::*;

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

type Steps = Vec<(u16, Op<Vec<u8>>)>;

/// xorshift64*: random enough to reach every kind of field.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.bytes().into_iter().filter(|&byte| byte != 0).collect();
        bytes.push(0);
        bytes
    }

    fn maybe_text(&mut self) -> Vec<u8> {
        if self.below(2) == 0 { Vec::new() } else { self.text() }
    }

    fn texts(&mut self) -> Texts<Vec<u8>> {
        let count = self.below(5);
        Texts { count: count as u32, joined: (0..count).flat_map(|_| self.text()).collect() }
    }

    fn numbers(&mut self) -> Numbers<Vec<u8>> {
        Numbers((0..4 * self.below(5)).map(|_| self.next() as u8).collect())
    }

    fn exec(&mut self) -> Op<Vec<u8>> {
        Op::Exec { paths: self.texts(), argv: self.texts(), envp: self.texts() }
    }

    /// Anything but what gives a plan its shape.
    fn op(&mut self) -> Op<Vec<u8>> {
        match self.below(59) {
            0 => Op::Unshare { flags: self.next() },
            1 => Op::AwaitMaps {},
            2 => Op::Write { path: Text(self.text()), data: Blob(self.bytes()) },
            3 => Op::Mount {
                source: MaybeText(self.maybe_text()),
                target: Text(self.text()),
                fstype: MaybeText(self.maybe_text()),
                flags: self.next(),
            },
            4 => Op::SetHostname { name: Blob(self.bytes()) },
            5 => Op::SetDomainname { name: Blob(self.bytes()) },
            6 => Op::LoopbackUp {},
            7 => Op::Setsid {},
            8 => Op::Setpgid { group: self.next() as i32 },
            9 => Op::ControllingTerminal {},
            10 => Op::Descriptors {
                stdio: [self.next() as i32, -1, self.next() as i32],
                pass: self.numbers(),
                close: self.next() as u32,
            },
            11 => Op::Chdir { path: Text(self.text()) },
            12 => Op::Umask { mask: self.next() as u32 },
            13 => Op::Setgroups { groups: self.numbers() },
            14 => Op::Setgid { id: self.next() as u32 },
            15 => Op::Setuid { id: self.next() as u32, keep_caps: self.next() as u32 },
            16 => Op::Capabilities { inheritable: self.next(), ambient: self.next() },
            17 => Op::NoNewPrivs {},
            18 => Op::Received { stdio: [1, 0, self.next() as i32], pass: self.numbers() },
            19 => Op::WriteMap { file: Text(self.text()), data: Blob(self.bytes()) },
            20 => Op::Copy { path: Text(self.text()), max_bytes: self.next(), any_type: self.next() as u32 },
            56 => Op::OpenProc { path: Text(self.text()) },
            21 => Op::Read { path: Text(self.text()) },
            38 => Op::OpenOwn { path: Text(self.text()), link: self.next() as u32 },
            39 => Op::WriteOwn { path: Text(self.text()), data: Blob(self.bytes()) },
            22 => Op::Detached { fstype: Text(self.text()) },
            23 => Op::Unmount { target: Text(self.text()), flags: self.next() as u32 },
            24 => Op::Abort { token: self.next() as u32 },
            25 => Op::Reap { always: self.next() as u32, now: self.next() as u32 },
            26 => Op::Setns { fd: self.next() as i32, flags: self.next() },
            27 => Op::BecomeRoot { strict: self.next() as u32 },
            28 => Op::Chroot { fd: self.next() as i32 },
            29 => Op::Fchdir { fd: self.next() as i32 },
            30 => Op::NewRoot { path: Text(self.text()), attributes: self.next() },
            31 => Op::Bind {
                source: Text(self.text()),
                target: Text(self.text()),
                inside: self.next() as u32,
                recursive: self.next() as u32,
                attributes: self.next(),
            },
            32 => Op::NewMount {
                fstype: Text(self.text()),
                options: self.texts(),
                attributes: self.next(),
                target: Text(self.text()),
                inside: self.next() as u32,
            },
            33 => Op::PivotRoot {},
            34 => Op::Rlimit { resource: self.next() as u32, soft: self.next(), hard: self.next() },
            35 => Op::Cgroup { parent: self.next() as i32, procs: self.next() as i32, name: Text(self.text()) },
            36 => Op::JoinCgroup { procs: self.next() as i32 },
            37 => Op::Socket { family: self.next() as i32, kind: self.next() as i32, protocol: self.next() as i32 },
            40 => Op::DetachedProc { namespace: self.next() as i32 },
            41 => Op::NewUser {},
            42 => Op::NewTime {},
            43 => Op::ClockOffsets { data: Blob(self.bytes()) },
            44 => Op::SessionKeyring {},
            45 => Op::LimitCapabilities { keep: self.next() },
            46 => Op::Seccomp { denied: Blob(self.bytes()), missing: Blob(self.bytes()) },
            47 => Op::Landlock { writable: self.texts(), scopes: self.next() },
            48 => Op::Mask { hidden: self.texts(), read_only: self.texts(), inside: self.next() as u32 },
            49 => Op::PrivateMount {
                fstype: Text(self.text()),
                options: self.texts(),
                attributes: self.next(),
                target: Text(self.text()),
                inside: self.next() as u32,
            },
            50 => Op::CopyTree { source: Text(self.text()), recursive: self.next() as u32 },
            51 => Op::Layers { options: self.texts(), attributes: self.next(), memory: self.texts() },
            52 => Op::Attach { target: Text(self.text()), inside: self.next() as u32 },
            53 => Op::AttachRoot {},
            54 => Op::KeepTree { fd: self.next() as i32, source: Text(self.text()) },
            57 => Op::SendTree { source: Text(self.text()), recursive: self.next() as u32 },
            58 => Op::AbortFuse { devices: self.numbers() },
            _ => Op::Signals { mask: self.next(), reset: self.next() },
        }
    }

    fn plan(&mut self) -> Steps {
        let (before, after) = (self.below(8), self.below(8));
        let mut steps: Steps = (0..before).map(|_| (self.next() as u16, self.op())).collect();
        if self.below(4) == 0 {
            steps.push((self.next() as u16, Op::Descend { flags: self.next() }));
        }
        steps.push((self.next() as u16, Op::Fork { flags: self.next(), quiet: self.next() as u32 }));
        steps.extend((0..after).map(|_| (self.next() as u16, self.op())));
        steps.push((self.next() as u16, self.exec()));
        steps
    }
}

fn encode(steps: &Steps) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for (step, op) in steps {
        encode_op(*step, op, &mut bytes);
    }
    let header = encode_header(bytes.len(), steps.len() as u32);
    bytes[..HEADER].copy_from_slice(&header);
    bytes
}

/// As text both forms look alike, the one that owns its bytes and the one that borrows them.
fn shown<S: core::fmt::Debug>(steps: impl Iterator<Item = (u16, Op<S>)>) -> Vec<String> {
    steps.map(|step| format!("{step:?}")).collect()
}

#[test]
fn every_plan_is_read_as_it_was_written() {
    for seed in 1..2000 {
        let steps = Random(seed).plan();
        let bytes = encode(&steps);
        let parsed = Plan::parse(&bytes).unwrap_or_else(|malformed| panic!("seed {seed}: {malformed:?}"));
        assert_eq!(shown(parsed.ops()), shown(steps.into_iter()), "seed {seed}");
    }
}

#[test]
fn every_operation_is_among_them() {
    let mut tags: Vec<u16> = (1..400).flat_map(|seed| Random(seed).plan()).map(|(_, op)| op.tag()).collect();
    tags.sort_unstable();
    tags.dedup();
    // All but `Serve`, `Start` and `CopyInit`, which make the shape of a request or of a box.
    let others = (1..=33).chain([36, 38]).chain(40..=47).chain(60..=63).chain(70..=72).chain(80..=87).chain(100..=103);
    assert_eq!(tags, others.collect::<Vec<u16>>());
}

#[test]
fn a_plan_that_is_cut_is_refused() {
    for seed in 1..100 {
        let bytes = encode(&Random(seed).plan());
        for length in 0..bytes.len() {
            let fault = Plan::parse(&bytes[..length]).map(|_| ()).unwrap_err().fault;
            assert_eq!(fault, Fault::Truncated, "seed {seed}, {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_plan_with_another_header_is_refused() {
    for seed in 1..100 {
        let bytes = encode(&Random(seed).plan());
        for bit in 0..8 * HEADER {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let fault = Plan::parse(&damaged).map(|_| ()).unwrap_err().fault;
            assert_eq!(fault, if bit < 32 { Fault::Truncated } else { Fault::Order }, "seed {seed}, bit {bit}");
        }
    }
}

#[test]
fn a_damaged_plan_is_refused_or_another_plan() {
    for seed in 1..5000 {
        let mut random = Random(seed);
        let mut bytes = encode(&random.plan());
        let at = HEADER + random.below(bytes.len() - HEADER);
        bytes[at] ^= 1 << random.below(8);
        // It may be another plan now. If so it is one from end to end, and its operations can be written again.
        if let Ok(plan) = Plan::parse(&bytes) {
            let mut again = bytes[..HEADER].to_vec();
            plan.ops().for_each(|(step, op)| encode_op(step, &op, &mut again));
            assert_eq!(again, bytes, "seed {seed}");
        }
    }
}

#[test]
fn the_operations_make_the_shape() {
    let exec = || (0, Random(7).exec());
    let fork = || (0, Op::Fork { flags: 0, quiet: 0 });
    let descend = || (0, Op::Descend { flags: 0 });
    let start = || (0, Op::Start { flags: 0, token: 1, quiet: 0 });
    let serve = || (0, Op::Serve {});
    let other = || (0, Op::Setsid {});
    let init = || (0, Op::CopyInit {});
    let join = || (0, Op::Setns { fd: 7, flags: 0 });
    let open = || (0, Op::DetachedProc { namespace: 7 });
    let wrong: [Steps; 17] = [
        vec![fork(), descend(), exec()],
        vec![],
        vec![fork()],
        vec![exec()],
        vec![exec(), fork()],
        vec![fork(), fork(), exec()],
        vec![fork(), exec(), exec()],
        vec![start()],
        vec![other(), start(), exec()],
        vec![start(), start(), exec()],
        vec![start(), fork(), exec()],
        vec![serve(), other()],
        vec![fork(), serve()],
        vec![join()],
        vec![join(), open(), join()],
        vec![join(), other(), open()],
        vec![join(), open(), other()],
    ];
    for steps in wrong {
        let fault = Plan::parse(&encode(&steps)).map(|_| ()).unwrap_err().fault;
        assert_eq!(fault, Fault::Order, "{steps:?}");
    }
    let right: [(Steps, Shape); 9] = [
        (vec![descend(), descend(), fork(), exec()], Shape::Program),
        (vec![other(), fork(), other(), exec()], Shape::Program),
        (vec![other(), serve()], Shape::Box),
        (vec![start(), other(), exec()], Shape::Process),
        (vec![start(), init()], Shape::Process),
        (vec![other(), other()], Shape::Operations),
        (vec![open(), other()], Shape::Operations),
        (vec![join(), join(), open(), open()], Shape::Look),
        (vec![join(), fork(), exec()], Shape::Program),
    ];
    for (steps, shape) in right {
        let bytes = encode(&steps);
        assert_eq!(Plan::parse(&bytes).map(|plan| plan.shape), Ok(shape), "{steps:?}");
        let other = if shape == Shape::Box { Shape::Program } else { Shape::Box };
        assert!(Plan::parse_as(&bytes, &[shape, other]).is_ok());
        assert_eq!(Plan::parse_as(&bytes, &[other]).map(|_| ()).unwrap_err().fault, Fault::Order);
    }
}

#[test]
fn every_report_is_read_as_it_was_written() {
    let text = |room: &mut [u8]| {
        room[..4].copy_from_slice(b"text");
        Ok::<_, ()>(4)
    };
    let data = Data::read(text).unwrap();
    assert_eq!(data.bytes(), b"text");
    let reports = [
        Report::Refused(Malformed { fault: Fault::Field, offset: 1 << 40 }),
        Report::MapsWanted,
        Report::Failed(Failure { step: 3, errno: -7, value: i64::MIN }),
        Report::Started { pid: i32::MAX },
        Report::Exited { status: -1, usage: [9; 18], left: true },
        Report::Forked { pid: 1 },
        Report::Performed { step: u32::MAX, nanoseconds: 1 << 40, data },
        Report::Done,
        Report::Happened { event: Event::Reaped, pid: 5, status: 256, time: 1 << 60, number: 7 },
    ];
    for report in reports {
        assert_eq!(Report::from_bytes(report.to_bytes()), Some(report));
    }
}

#[test]
fn other_bytes_are_no_report() {
    assert_eq!(Report::from_bytes([0; REPORT]), None);
    let unknown = |report: Report, at: usize| {
        let mut bytes = report.to_bytes();
        bytes[at] = 99;
        Report::from_bytes(bytes)
    };
    assert_eq!(unknown(Report::Done, 0), None);
    assert_eq!(unknown(Report::Refused(Malformed { fault: Fault::Order, offset: 0 }), 8), None);
    let event = Report::Happened { event: Event::Started, pid: 1, status: 0, time: 0, number: 0 };
    assert_eq!(unknown(event, 8), None);
}
