#!/bin/bash
# build.sh OUT  Put the object stores that are tested against into the folder OUT: fake-gcs-server (Go module) and azurite (npm).
# What OUT already has in the same version is not fetched again. MinIO is built by ../kbox/build.sh.
set -euo pipefail
[ $# = 1 ] || { echo "usage: build.sh OUT" >&2; exit 2; }
out=$(realpath -m "$1"); mkdir -p "$out"
gcs=github.com/fsouza/fake-gcs-server@v1.56.1
azurite=azurite@3.37.0

fresh(){ [ "$(cat "$out/.$1" 2>/dev/null)" = "$2" ]; }

if ! fresh gcs "$gcs"; then
  command -v go >/dev/null || { echo "build.sh: no Go: install one of 1.21 or newer" >&2; exit 1; }
  echo "building fake-gcs-server"
  ( cd / && CGO_ENABLED=0 GOTOOLCHAIN=${GOTOOLCHAIN:-auto} GOBIN=$out go install -trimpath -ldflags '-s -w' "$gcs" )
  echo "$gcs" >"$out/.gcs"
fi
if ! fresh azurite "$azurite"; then
  if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm
  fi
  command -v npm >/dev/null || { echo "build.sh: no npm: install Node.js of 18 or newer" >&2; exit 1; }
  echo "fetching azurite"
  mkdir -p "$out/azurite"; echo '{"private": true}' >"$out/azurite/package.json"
  ( cd "$out/azurite" && npm install --no-audit --no-fund --loglevel=error "$azurite" )
  echo "$azurite" >"$out/.azurite"
fi
