#!/bin/bash
# cluster.sh CMD...  Inside ns.sh: start the control plane and the nodes, run CMD, end. Used by up.sh.
# $E2E_OUT/start.log tells when each part was ready. Variables: lib.sh. Errors: a component ended, or was not ready in
# time: the end of its log is shown.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
K=$E2E_OUT/pki; rm -rf "$K" "$E2E_OUT"/{kubeconfig,ready}; find "$E2E_OUT" -maxdepth 1 \( -name '*.log' -o -name 'audit*.jsonl' \) ! -name up.log -delete
"$HERE/pki.sh" "$K"; ln -s pki/admin.kubeconfig "$E2E_OUT/kubeconfig"
export KUBECONFIG=$E2E_OUT/kubeconfig PATH=$E2E_BIN:$PATH

start etcd kbox etcd --data-dir /run/etcd --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
await etcd 20 curl -sf http://127.0.0.1:2379/health
start apiserver kbox kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
  --bind-address=$NODE_IP --secure-port=6443 --advertise-address=$NODE_IP --allow-privileged=true \
  --tls-cert-file="$K/apiserver.crt" --tls-private-key-file="$K/apiserver.key" --client-ca-file="$K/ca.crt" \
  --anonymous-auth=false --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --service-cluster-ip-range=10.96.0.0/16 --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$K/sa.pub" --service-account-signing-key-file="$K/sa.key" \
  --kubelet-certificate-authority="$K/ca.crt" --kubelet-client-certificate="$K/apiserver-kubelet.crt" \
  --kubelet-client-key="$K/apiserver-kubelet.key" --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file="$K/front-ca.crt" --requestheader-allowed-names=front-proxy \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$K/front-proxy.crt" --proxy-client-key-file="$K/front-proxy.key" \
  --audit-policy-file="$HERE/audit.yaml" --audit-log-path="$E2E_OUT/audit.jsonl" --audit-log-maxsize=0

for n in $(seq "$E2E_NODES"); do start "node$n" "$HERE/node.sh" "$n"; done

await apiserver 60 kubectl get --raw /readyz
as(){ printf -- '--kubeconfig=%s\n' "$K/$1.kubeconfig"; }
delegate(){ printf -- "--%s-kubeconfig=$K/$1.kubeconfig\n" authentication authorization; }
# shellcheck disable=SC2046  # the paths of $(as) and $(delegate) are ours
{
start kcm kbox kube-controller-manager $(as kcm) $(delegate kcm) --leader-elect=false \
  --use-service-account-credentials=true --service-account-private-key-file="$K/sa.key" --root-ca-file="$K/ca.crt" \
  --cluster-signing-cert-file="$K/ca.crt" --cluster-signing-key-file="$K/ca.key" --service-cluster-ip-range=10.96.0.0/16 \
  --kube-api-qps=300 --kube-api-burst=500 --node-monitor-period=2s --node-monitor-grace-period=12s   # tests do not wait for minutes
start scheduler kbox kube-scheduler $(as scheduler) $(delegate scheduler) --leader-elect=false
start dns kbox-node dns $(as addon) --listen=$NODE_IP:53
start volumes kbox-node volumes $(as addon)
}
kubectl apply -f "$HERE/cluster.yaml" >/dev/null
for n in $(seq "$E2E_NODES"); do await "node$n" 60 kubectl wait --for=condition=Ready "node/$(node_name "$n")" --timeout=1s; done
await kcm 30 kubectl get serviceaccount default
await dns 30 bash -c 'getent hosts kubernetes.default'
touch "$E2E_OUT/ready"
"$@"   # then the pid namespace ends, and every process and container with it
