//! Id maps of a user namespace (user_namespaces(7)): their lines, who may write them, and the programs that write what
//! the caller may not.

use pyo3::prelude::*;

/// A line as it is asked for: inside, outside, count. Nothing inside or outside is the caller's own id.
pub type Wanted = (Option<u32>, Option<u32>, u32);

/// The lines of a map, for a caller with the id `own`. A range makes room for the caller's own id, on both sides, as
/// unshare(1) has it: no id may occur twice.
pub fn lines(wanted: &[Wanted], own: u32) -> Vec<[u32; 3]> {
    let single =
        wanted.iter().find(|(_, outside, _)| outside.is_none()).map(|(inside, ..)| (inside.unwrap_or(own), own));
    let mut lines: Vec<[u32; 3]> = single.iter().map(|&(inside, outside)| [inside, outside, 1]).collect();
    for &(inside, outside, count) in wanted {
        let (Some(inside), Some(outside)) = (inside, outside) else { continue };
        match single {
            None => lines.push([inside, outside, count]),
            Some((taken_inside, taken_outside)) => {
                let (mut left, mut right) = (runs(inside, count, taken_inside), runs(outside, count, taken_outside));
                while let (Some(inner), Some(outer)) = (left.last_mut(), right.last_mut()) {
                    let length = inner.1.min(outer.1);
                    lines.push([inner.0, outer.0, length]);
                    for (run, side) in [(*inner, &mut left), (*outer, &mut right)] {
                        side.pop();
                        if run.1 > length {
                            side.push((run.0 + length, run.1 - length));
                        }
                    }
                }
            }
        }
    }
    lines
}

/// The lines of a map (inside, outside, count) for a caller with the id `own`: at most one `single` id (inside, the
/// caller's own outside), and `ranges`, which make room for it.
#[pyfunction]
pub fn id_map_lines(single: Option<u32>, ranges: Vec<(u32, u32, u32)>, own: u32) -> Vec<(u32, u32, u32)> {
    let ranges = ranges.into_iter().map(|(inside, outside, count)| (Some(inside), Some(outside), count));
    let wanted: Vec<Wanted> = single.map(|inside| (Some(inside), None, 1)).into_iter().chain(ranges).collect();
    lines(&wanted, own).into_iter().map(|[inside, outside, count]| (inside, outside, count)).collect()
}

/// The ids from `first` on without the one that is taken, as runs (first, count), the last one first.
fn runs(first: u32, count: u32, taken: u32) -> Vec<(u32, u32)> {
    match taken.checked_sub(first) {
        Some(before) if before < count => [(taken.saturating_add(1), count - before - 1), (first, before)]
            .into_iter()
            .filter(|run| run.1 > 0)
            .collect(),
        _ => vec![(first, count)],
    }
}

/// Whether the kernel lets an unprivileged caller write these lines: its own id alone.
pub fn is_own_alone(lines: &[[u32; 3]], own: u32) -> bool {
    matches!(lines, [[_, outside, 1]] if *outside == own)
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn no_id_occurs_twice_and_as_many_as_possible_are_mapped() {
        let auto = (Some(0), Some(100_000), 10);
        for (single, own, expected) in [
            ((Some(0), None, 1), 1000, vec![[0, 1000, 1], [1, 100_000, 9]]),
            ((Some(5), None, 1), 1000, vec![[5, 1000, 1], [0, 100_000, 5], [6, 100_005, 4]]),
            ((Some(9), None, 1), 1000, vec![[9, 1000, 1], [0, 100_000, 9]]),
            ((Some(10), None, 1), 1000, vec![[10, 1000, 1], [0, 100_000, 10]]),
            ((None, None, 1), 1000, vec![[1000, 1000, 1], [0, 100_000, 10]]),
            ((Some(0), None, 1), 100_000, vec![[0, 100_000, 1], [1, 100_001, 9]]),
            ((Some(2), None, 1), 100_005, vec![[2, 100_005, 1], [0, 100_000, 2], [3, 100_002, 3], [6, 100_006, 4]]),
        ] {
            assert_eq!(lines(&[single, auto], own), expected, "{single:?} {own}");
        }
        assert_eq!(lines(&[auto], 0), vec![[0, 100_000, 10]]);
        assert_eq!(lines(&[(Some(0), None, 1), (Some(0), Some(0), u32::MAX)], 0), [[0, 0, 1], [1, 1, u32::MAX - 1]]);
    }
}
