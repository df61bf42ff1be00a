#!/bin/bash
# packages.sh [--install]  Name the Debian packages that the cluster needs and this machine lacks; with --install, and as
# root, install them. Prints nothing when nothing is missing. Errors: exit 1 with what is missing and the command that brings it.
set -euo pipefail
declare -A package=([containerd]=containerd [ctr]=containerd [runc]=runc [nft]=nftables [iptables]=iptables
  [conntrack]=conntrack [ip]=iproute2 [ethtool]=ethtool [socat]=socat [unshare]=util-linux [openssl]=openssl [curl]=curl
  [python3]=python3 [/usr/lib/cni/bridge]=containernetworking-plugins)
missing(){ local c; for c in "${!package[@]}"; do command -v "$c" >/dev/null || echo "${package[$c]}"; done | sort -u; }
mapfile -t lack < <(missing)
[ ${#lack[@]} != 0 ] || exit 0
command="apt-get install --no-install-recommends ${lack[*]}"
if [ "${1-}" = --install ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Debian packages: ${lack[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq </dev/null || true   # an old list still may do
  apt-get install -y -qq --no-install-recommends "${lack[@]}" </dev/null
  mapfile -t lack < <(missing)
  [ ${#lack[@]} != 0 ] || exit 0
fi
echo "packages are missing; as root: $command" >&2
exit 1
