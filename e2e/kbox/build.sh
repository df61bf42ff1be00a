#!/bin/bash
# build.sh OUT  Build what the cluster needs into the folder OUT (E2E_BIN): kbox, kbox-node, pause; links kubectl, etcd,
# kube-apiserver -> kbox (so OUT also serves as KUBEBUILDER_ASSETS); helm and minio. What OUT already has from the same
# sources and versions is not built again.
# Needs Go and the Go module proxy (without Go, GOPROXY names the proxy from which the toolchain itself is taken). Errors: Go's own message
# when a module or the disk is missing.
set -euo pipefail
[ $# = 1 ] || { echo "usage: build.sh OUT" >&2; exit 2; }
out=$(realpath -m "$1"); mkdir -p "$out"; cd "$(dirname "$0")"
toolchain=1.26.8
helm=helm.sh/helm/v4/cmd/helm@v4.2.4
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

# Any Go since 1.21 fetches the toolchain that go.mod asks for by itself; where there is none, fetch the same archive.
go_minor(){ local v; v=$(go env GOVERSION 2>/dev/null) && v=${v#go1.} && echo "${v%%[!0-9]*}"; }
if [ "$(go_minor || echo 0)" -lt 21 ]; then
  case $(uname -m) in x86_64) arch=amd64;; aarch64) arch=arm64;; *) echo "build.sh: no Go, and none known for $(uname -m)" >&2; exit 1;; esac
  root=$out/toolchain/golang.org/toolchain@v0.0.1-go$toolchain.linux-$arch
  if [ ! -x "$root/bin/go" ]; then
    echo "fetching Go $toolchain"
    proxy=${GOPROXY:?build.sh: no Go of 1.21 or newer: install one, or name in GOPROXY the module proxy to fetch it from}; zip=$out/toolchain.zip
    curl -fsSL --retry 3 -o "$zip" "${proxy%%[,|]*}/golang.org/toolchain/@v/v0.0.1-go$toolchain.linux-$arch.zip"
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' "$zip" "$out/toolchain"
    chmod -R +x "$root/bin" "$root/pkg/tool"; rm "$zip"
  fi
  export PATH=$root/bin:$PATH
fi
export CGO_ENABLED=0 GOTOOLCHAIN=${GOTOOLCHAIN:-auto} GOFLAGS="-trimpath -buildvcs=false"

# fresh NAME WORD...: whether OUT has what the words, in their sum, stand for; built NAME notes that it has now
fresh(){ sum=$(printf '%s\n' "${@:2}" | sha256sum | cut -c1-64); [ "$(cat "$out/.$1.sum" 2>/dev/null)" = "$sum" ]; }
built(){ echo "$sum" >"$out/.$1.sum"; }

if ! fresh kbox "$(find go.mod go.sum cmd -type f -print0 | sort -z | xargs -0 sha256sum)" "$(cat build.sh)"; then
  echo "building kbox, kbox-node, pause"
  v=k8s.io/component-base/version   # without these flags the server calls itself v0.0.0-master
  go build -v -o "$out/" -ldflags "-s -w -X $v.gitVersion=v1.36.4 -X $v.gitMajor=1 -X $v.gitMinor=36 -X $v.gitTreeState=clean" ./cmd/...
  for n in kubectl etcd kube-apiserver; do ln -sf kbox "$out/$n"; done
  built kbox
fi
for m in "$helm" "$minio"; do   # modules of their own: their requirements would move those of the API server
  n=${m%@*}; n=${n##*/}
  if ! fresh "$n" "$m"; then
    echo "building $n"
    ( cd / && GOBIN=$out go install -v -ldflags '-s -w' "$m" )
    built "$n"
  fi
done
