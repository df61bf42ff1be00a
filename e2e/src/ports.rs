//! Ports for the servers that the tests start. Pure but for the look at which are taken.
//!
//! A port that the kernel hands out (`bind` to port 0) is free only at that moment: until the server that it is meant for binds it, any
//! outgoing connection on the machine may be given it. So ours lie outside of the range that the kernel gives to outgoing connections, and
//! none is handed out twice.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// Below are the ports of well-known services, NodePorts and what a developer is likely to run.
const LOWEST: u16 = 12_000;
/// How many there must be at least, so that test runs side by side rarely look at the same ones.
const ENOUGH: u16 = 1000;

/// A free port of 127.0.0.1 that no outgoing connection is given, and that no other call in this process returns.
///
/// # Errors
/// Where the kernel's range leaves no room, or all are taken.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ephemeral = "/proc/sys/net/ipv4/ip_local_port_range";
    let ours = outside_of(&fs::read_to_string(ephemeral).context(ephemeral)?)?;
    // Runs side by side begin at different places.
    let first = process::id().wrapping_mul(131);
    (0..ours.len())
        .map(|_| nth(&ours, first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .with_context(|| format!("no free port on 127.0.0.1 from {} to {}", ours.start, ours.end))
}

fn nth(ports: &Range<u16>, n: u32) -> u16 {
    let offset = n % u32::from(ports.end - ports.start);
    ports.start + u16::try_from(offset).unwrap_or_default()
}

/// The larger of the ranges below and above `ephemeral`, which holds two numbers as in `ip_local_port_range`.
fn outside_of(ephemeral: &str) -> Result<Range<u16>> {
    let mut numbers = ephemeral.split_whitespace().map(str::parse::<u16>);
    let mut number = || numbers.next().context("too few numbers")?.context("not a port");
    let (low, high) = (number()?, number()?);
    let (below, above) = (LOWEST..low.max(LOWEST), high.max(LOWEST)..u16::MAX);
    let ours = if below.len() >= above.len() { below } else { above };
    ensure!(
        ours.len() >= usize::from(ENOUGH),
        "net.ipv4.ip_local_port_range is {low} to {high}: that leaves less than {ENOUGH} ports for servers from {LOWEST} on"
    );
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_outside_of_the_kernels() {
        assert_eq!(outside_of("32768\t60999\n").unwrap(), 12_000..32_768);
        assert_eq!(outside_of("1024 60999").unwrap(), 60_999..65_535);
        let error = outside_of("1024 65535").unwrap_err().to_string();
        assert!(error.contains("1024 to 65535"), "{error}");
        assert!(outside_of("").is_err() && outside_of("1 x").is_err());
    }

    #[test]
    fn none_is_given_twice_and_none_that_is_taken() {
        let first = free_port().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).unwrap();
        let mut given: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert!(!given.contains(&first) && !given.contains(&taken.local_addr().unwrap().port()));
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 200);
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let ours = outside_of(&range).unwrap();
        assert!(given.iter().all(|port| ours.contains(port)));
    }
}
