//! From the configuration to how this process presents itself to others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use vivace_config::Config;

use super::Target;
use crate::membership::{Options, advertised_ip};

const GOSSIP_PORT: u16 = 7946;
const GOSSIP_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);

/// `grpc` is where the gRPC server listens.
pub(super) fn options(config: &Config, target: &Target, grpc: SocketAddr) -> anyhow::Result<Options> {
    let members = &config.memberlist;
    let port = members.bind_port.unwrap_or(GOSSIP_PORT);
    let ip = advertised(config)?;
    let any =
        if ip.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let bind = match members.bind_addr.0.first() {
        Some(text) => text
            .parse()
            .with_context(|| format!("memberlist.bind_addr: expected an address, found `{text}`"))?,
        None => any,
    };
    Ok(Options {
        id: members.node_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(host_name),
        roles: target.roles().to_vec(),
        grpc: SocketAddr::new(ip, grpc.port()),
        zone: zone(config),
        join: members.join_members.0.clone(),
        bind: SocketAddr::new(bind, port),
        advertise: SocketAddr::new(ip, members.advertise_port.unwrap_or(port)),
        cluster: members
            .cluster_label
            .clone()
            .filter(|label| !label.is_empty())
            .unwrap_or_else(|| "vivace".into()),
        interval: GOSSIP_INTERVAL,
    })
}

fn advertised(config: &Config) -> anyhow::Result<IpAddr> {
    let configured = [
        ("memberlist.advertise_addr", &config.memberlist.advertise_addr),
        ("ingester.lifecycler.address", &config.ingester.lifecycler.address),
    ];
    for (key, text) in configured {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            return text.parse().with_context(|| format!("{key}: expected an IP address, found `{text}`"));
        }
    }
    // Nobody else asks a process that is alone.
    let alone = config.memberlist.join_members.0.is_empty();
    Ok(if alone { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { advertised_ip() })
}

fn zone(config: &Config) -> String {
    let configured = config.ingester.lifecycler.availability_zone.clone().filter(|zone| !zone.is_empty());
    configured.or_else(|| std::env::var("INSTANCE_AVAILABILITY_ZONE").ok()).unwrap_or_default()
}

/// The pod's name in Kubernetes.
pub(super) fn host_name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let name = std::env::var("HOSTNAME").ok().or_else(|| read("/proc/sys/kernel/hostname"));
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "vivace".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Options> {
        let config = vivace_config::load(text, &[]).unwrap().config;
        options(&config, &Target::parse("all").unwrap(), SocketAddr::from(([0, 0, 0, 0], 9095)))
    }

    #[test]
    fn a_process_that_is_alone_advertises_loopback() {
        let options = load("").unwrap();
        assert_eq!(options.grpc.to_string(), "127.0.0.1:9095");
        assert!(options.join.is_empty());
    }

    #[test]
    fn what_is_configured_is_advertised() {
        let options =
            load("memberlist: {advertise_addr: 10.1.2.3, bind_port: 17946, join_members: [a]}").unwrap();
        assert_eq!(options.advertise.to_string(), "10.1.2.3:17946");
        assert_eq!(options.bind.to_string(), "0.0.0.0:17946");
        let error = load("memberlist: {advertise_addr: here}").unwrap_err().to_string();
        assert_eq!(error, "memberlist.advertise_addr: expected an IP address, found `here`");
    }
}
