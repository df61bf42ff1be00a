# lib.sh  Sourced by the other scripts: the variables, and how to fail. Each variable can be set beforehand.
#   E2E_HOME    folder of the four below          (${XDG_CACHE_HOME:-~/.cache}/vivace-e2e)
#   E2E_BIN     binaries made by ../kbox/build.sh ($E2E_HOME/bin)
#   E2E_IMAGES  image archives made by mkimg.py   ($E2E_HOME/images)
#   E2E_STATE   image store, volumes, scratch; not on an overlay file system ($E2E_HOME/state)
#   E2E_OUT     logs, certificates, kubeconfig, pid of a running cluster ($E2E_HOME/out)
#   E2E_NODES   number of nodes                   (1)
# shellcheck shell=bash disable=SC2034  # used where it is sourced
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${E2E_HOME:=${XDG_CACHE_HOME:-$HOME/.cache}/vivace-e2e}"
: "${E2E_BIN:=$E2E_HOME/bin}" "${E2E_IMAGES:=$E2E_HOME/images}" "${E2E_STATE:=$E2E_HOME/state}" "${E2E_OUT:=$E2E_HOME/out}" "${E2E_NODES:=1}"
for v in E2E_HOME E2E_BIN E2E_IMAGES E2E_STATE E2E_OUT; do printf -v $v %s "$(realpath -m "${!v}")"; done
export E2E_NODES E2E_HOME E2E_BIN E2E_IMAGES E2E_STATE E2E_OUT
NODE_IP=10.200.0.1

die(){ echo "${0##*/}: $*" >&2; exit 1; }

# running: print the pid of the cluster's first process, as seen from outside; fail if there is none
running(){ cat "$E2E_OUT/pid" 2>/dev/null || die "no cluster runs on E2E_OUT=$E2E_OUT; start one: up.sh --keep"; }

# --- for cluster.sh and node.sh ---
declare -A component                       # name -> pid
: "${E2E_T0:=$((${EPOCHREALTIME/./}/1000))}"; export E2E_T0   # start, in ms
node_name(){ echo "e2e-node${1#1}"; }      # e2e-node, e2e-node2, ...
node_ip(){ echo "10.200.0.$1"; }

# start NAME CMD...: in the background, with a log
start(){ local n=$1; shift; "$@" >"$E2E_OUT/$n.log" 2>&1 & component[$n]=$!; }

# alive: fail, showing the end of its log, if a component has ended
alive(){
  local c
  for c in "${!component[@]}"; do
    kill -0 "${component[$c]}" 2>/dev/null || { tail -n 20 "$E2E_OUT/$c.log" >&2; die "$c ended"; }
  done; }

# await NAME SECONDS CMD...: until CMD succeeds; NAME's log is shown if it does not, and start.log tells when it did
await(){
  local n=$1 end=$((SECONDS+$2)); shift 2
  until "$@" >/dev/null 2>&1; do
    alive
    [ $SECONDS -lt $end ] || { tail -n 20 "$E2E_OUT/$n.log" >&2; die "$n: not ready: $*"; }
    sleep .1
  done
  echo "$n: $((${EPOCHREALTIME/./}/1000 - E2E_T0)) ms" >>"$E2E_OUT/start.log"; }
