#!/bin/bash
# pki.sh DIR  Make throwaway CAs, certificates and kubeconfigs in DIR. Used by node.sh.
# Errors: openssl's own message.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mkdir -p "$1"; cd "$1"; umask 077
quiet(){ local e; e=$("$@" 2>&1) || die "$*: $e"; }
key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
ca(){ # ca NAME
  quiet openssl req -x509 "${key[@]}" -days 30 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature; }
cert(){ # cert CA NAME SUBJECT [SAN]
  quiet openssl req -x509 "${key[@]}" -days 30 -CA "$1.crt" -CAkey "$1.key" -subj "$3" -keyout "$2.key" -out "$2.crt" \
    -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature,keyEncipherment \
    -addext extendedKeyUsage=clientAuth,serverAuth ${4:+-addext subjectAltName=$4}; }

ca ca; ca front-ca
cert ca apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:10.96.0.1"
cert ca apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
cert front-ca front-proxy /CN=front-proxy
cert ca admin /O=system:masters/CN=admin
cert ca addon /O=system:masters/CN=e2e-addon    # dns, volumes, netpol
cert ca kcm /CN=system:kube-controller-manager
cert ca scheduler /CN=system:kube-scheduler
cert ca proxy /CN=system:kube-proxy
users=(admin addon kcm scheduler proxy)
for n in $(seq "$E2E_NODES"); do
  cert ca "kubelet$n" "/O=system:nodes/CN=system:node:$(node_name "$n")" "DNS:$(node_name "$n"),IP:$(node_ip "$n")"
  users+=("kubelet$n")
done
quiet openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out sa.key
quiet openssl pkey -in sa.key -pubout -out sa.pub
b(){ base64 -w0 <"$1"; }
for u in "${users[@]}"; do cat >"$u.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(b ca.crt)}}]
users: [{name: $u, user: {client-certificate-data: $(b "$u.crt"), client-key-data: $(b "$u.key")}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $u}}]
current-context: e2e
Y
done
