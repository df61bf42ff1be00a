//! How much memory is given to what is kept of blocks, where `storage.trace.read_cache_bytes` does not say it.
//! IO: reads the limit of the container.

use std::fs;

/// Where kernels tell it: control groups of version 2, and of version 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// What is kept at most: what the columns of some ten million spans take that questions look at.
const MOST: u64 = 256 << 20;
/// What is kept in any case: below it, even footers would be read again and again.
const LEAST: u64 = 16 << 20;

/// A quarter of what the container may use, within bounds. It is filled by questions alone, and only as far as
/// they read.
pub(super) fn cache_bytes() -> usize {
    let told = LIMITS.iter().find_map(|path| fs::read_to_string(path).ok());
    share(told.as_deref()) as usize
}

/// The share of a limit as the kernel tells it: a number of bytes, or `max`.
fn share(told: Option<&str>) -> u64 {
    let limit = told.and_then(|text| text.trim().parse::<u64>().ok());
    limit.map_or(MOST, |limit| (limit / 4).clamp(LEAST, MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_container_is_kept_within_bounds() {
        assert_eq!(share(Some("536870912\n")), 128 << 20);
        assert_eq!(share(Some("33554432")), 16 << 20);
        assert_eq!(share(Some("9223372036854771712")), 256 << 20);
        assert_eq!((share(Some("max\n")), share(None)), (256 << 20, 256 << 20));
    }
}
