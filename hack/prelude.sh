# hack/prelude.sh: sourced by the scripts beside it: the top directory, messages, root.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck disable=SC2034 # hack/install
own_path=$PATH
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ -x "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" ] && PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH

say() { echo "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }
have() { command -v "$1" >/dev/null; }

# as_root CMD...: CMD as root, by sudo where we are not root already.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root and there is no sudo; become root and run it again: $*"
    fi
}

# announce_root WHAT: tell a user who is not root what sudo will be used for, before it asks.
announce_root() {
    [ "$(id -u)" = 0 ] && return
    have sudo || die "$1 needs root and there is no sudo; become root and run: $0"
    say "$1 needs root: using sudo"
    sudo -v || die "$1 needs root; run it as a user who may use sudo, or as root: $0"
}

# build_xtask: the project's tool, for `xtask` in a script that goes on as root.
build_xtask() {
    cargo build --quiet --locked --package xtask
    export XTASK=${CARGO_TARGET_DIR:-$PWD/target}/debug/xtask
}
# xtask ARGUMENT...: run it; `cargo xtask help` lists what it does.
xtask() { if [ -n "${XTASK-}" ]; then "$XTASK" "$@"; else cargo xtask "$@"; fi; }

# only_v2: cgroup v2 and nothing else, for who is in a mount namespace of its own.
only_v2() {
    umount --recursive --lazy /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
}

# mirror: the package archive that apt uses here; nothing if it names none, then mmdebstrap takes one that it knows.
mirror() { sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1 || :; }

# sid DIRECTORY OPTION...: Debian sid there, by mmdebstrap with these options.
sid() {
    local directory=$1 from
    shift
    from=$(mirror)
    # The archive's signatures are checked; only the age of its Release file is not.
    mmdebstrap --quiet --mode=root --aptopt='Acquire::Check-Valid-Until "false"' "$@" sid "$directory" ${from:+"$from"}
}
