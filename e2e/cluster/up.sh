#!/bin/bash
# up.sh CMD...   Start Kubernetes (E2E_NODES nodes), run CMD in its network with KUBECONFIG set and kubectl in PATH, take
#                everything down. The exit status is CMD's.
# up.sh --keep   Start it in the background and return when it is ready; then enter.sh, forward.sh, down.sh.
# Variables: see lib.sh. Errors: what is missing is named, with the command that brings it; when a component
# ends or does not get ready, the end of its log is shown (all logs: $E2E_OUT/*.log).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

[ "$(id -u)" = 0 ] || die "must be root"
"$HERE/packages.sh"
for b in kbox kbox-node pause; do [ -x "$E2E_BIN/$b" ] || die "no $E2E_BIN/$b; build it: e2e/kbox/build.sh $E2E_BIN"; done
for d in "$E2E_OUT" "$E2E_STATE"; do case $(realpath -m "$d")/ in
  /etc/*|/opt/*|/run/*|/var/lib/*|/var/log/*) die "$d: the cluster has its own /etc, /opt, /run, /var/lib and /var/log; choose another folder";;
esac; done
mkdir -p "$E2E_OUT" "$E2E_STATE"
[ "$(stat -f -c %T "$E2E_STATE")" != overlayfs ] || die "E2E_STATE=$E2E_STATE is on an overlay file system; containerd needs a plain one"
[ -f "$E2E_IMAGES/pause.tar" ] || { mkdir -p "$E2E_IMAGES"
  "$HERE/mkimg.py" "$E2E_IMAGES/pause.tar" e2e.local/pause:1 "$E2E_BIN/pause=/pause" -- /pause; }

rm -f "$E2E_OUT/ready"
[ "$1" = --keep ] || exec "$HERE/ns.sh" "$HERE/cluster.sh" "$@"
setsid "$HERE/ns.sh" "$HERE/cluster.sh" sleep infinity >"$E2E_OUT/up.log" 2>&1 </dev/null & ns=$!
until [ -e "$E2E_OUT/ready" ]; do
  kill -0 $ns 2>/dev/null || { cat "$E2E_OUT/up.log" >&2; die "the cluster did not start"; }
  sleep .2
done
echo "ready; e.g.: $HERE/enter.sh kubectl get pods -A   $HERE/forward.sh 8080 my-service.default:80   $HERE/down.sh"
