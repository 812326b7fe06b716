# hack/bench/lib.sh: sourced by the questions, each a script that `run` calls with the file for its results, in namespaces
# that end with it. A result is a line: CASE <tab> LANE <tab> VALUE, or ! <tab> CASE <tab> LANE <tab> why not.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the questions use them
set -euo pipefail
raw=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/../prelude.sh"
work=$BENCH_WORK programs=$work/programs rootfs=$work/rootfs
quick=$BENCH_QUICK systemd=${BENCH_SYSTEMD:+--systemd-cgroup}
# Of containers and cgroups; a digit follows where there are many.
id=${work##*/}

# As pid 1 we would not even hear of them.
trap 'exit 130' INT TERM HUP
# State and bundles go to a tmpfs, which is where runtimes keep the former.
here=$work/here
mkdir -p "$here"
mount -t tmpfs none "$here"
# crun refuses a mix of cgroup v1 and v2 whose v2 half owns a controller: none of them gets to see that half.
# What crun makes in its place goes to a tmpfs, which ends with us.
v2=/sys/fs/cgroup/unified
if mountpoint -q $v2; then umount $v2; mount -t tmpfs none $v2; fi

names=()
declare -A path
for word in $BENCH_RUNTIMES; do
    names+=("${word%%=*}")
    path[${word%%=*}]=${word#*=}
done
floor="$programs/floor NAME=$id"
ours() { [[ $1 =~ ^(pinnace|old|new)$ ]]; }

# runtime NAME [STATE]: the words that begin its commands.
runtime() { echo "${path[$1]} --root $here/state/$1${2-} $systemd"; }

# rounds N: how many of them in this run.
rounds() {
    if [ -n "$BENCH_ROUNDS" ]; then echo "$BENCH_ROUNDS"; elif [ -n "$quick" ]; then echo $(($1 / 5 + 1)); else echo "$1"; fi
}

# bundle NAME ARGS [SED_EXPRESSION]...: what `pinnace spec` writes, without a terminal, running ARGS (words of JSON).
# Debian 12's crun knows no version above 1.0.
bundle() {
    local name=$1 args=$2
    shift 2
    mkdir -p "$here/$name"
    sed -z -e 's|"ociVersion": "[^"]*"|"ociVersion": "1.0.2"|' -e "s|\"sh\"|$args|" \
        -e 's|"terminal": true|"terminal": false|' -e "s|\"path\": \"rootfs\"|\"path\": \"$rootfs\"|" \
        "$@" src/spec/template.json >"$here/$name/config.json"
}
# Expressions for it.
no_network='s/{[[:space:]]*"type": "network"[[:space:]]*},//'
docker_seccomp() { echo "s|\"linux\": {|&\"seccomp\": $(tr -d '\n|' <tests/fixtures/seccomp/docker.json | sed 's/[&\\]/\\&/g'),|"; }

lanes=()
# lane GROUP NAME: its steps come on standard input; the group only keeps lanes of one name apart.
lane() {
    mkdir -p "$here/lanes/$1"
    cat >"$here/lanes/$1/$2"
    lanes+=("$here/lanes/$1/$2")
}
# interleave ROUNDS: run all lanes that were made since the last time.
interleave() {
    "$programs/interleave" "$1" "${lanes[@]}" >>"$raw"
    lanes=()
}
record() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$raw"; }                 # record CASE LANE VALUE
left_out() { printf '!\t%s\t%s\t%s\n' "$1" "$2" "${3//[$'\t\n']/ }" >>"$raw"; }    # left_out CASE LANE REASON
