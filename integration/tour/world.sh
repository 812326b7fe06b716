#!/bin/bash
# world.sh NAME DIR PINNACE PINNACE-IMAGE: runs DIR/commands/* one after the other in one shell, on a host of its own, as
# a reader would type them: what each prints is DIR/output/*, its status DIR/status/*. All of it, containers, cgroups,
# networks, mounts, /run, /srv and /var/lib, goes with the last command.
set -eu
stage=${5-outer}

# Initialises a cgroup of cpuset on v1, where a new one lets nobody in.
enable() {
    local file
    for file in cpuset.cpus cpuset.mems; do
        # The root of v2 has none, and nothing is to be copied there.
        if [ -e "$1/../$file" ] && [ -e "$1/$file" ] && [ -z "$(cat "$1/$file")" ]; then
            cat "$1/../$file" >"$1/$file"
        fi
    done
}

# The mount points of all hierarchies, and of those of cgroup v2.
mounted() { awk -v kind="$1" '{for (i = 7; $i != "-"; i++); if ($(i + 1) ~ "^" kind "$") print $5}' /proc/self/mountinfo | sort -u; }

case $stage in
outer)
    mapfile -t roots < <(mounted 'cgroup2?')
    remove() {
        local root
        for root in "${roots[@]}"; do
            [ ! -d "$root/$1" ] || find "$root/$1" -depth -type d -exec rmdir {} +
        done
    }
    trap 'remove "$1"' EXIT
    for root in "${roots[@]}"; do
        mkdir "$root/$1"
        enable "$root/$1"
    done
    # What the host's own v2 root hands on to nobody, the namespace would not have.
    if [ "${roots[*]}" = /sys/fs/cgroup ]; then
        read -ra controllers </sys/fs/cgroup/cgroup.controllers
        for name in "${controllers[@]}"; do
            echo "+$name" >/sys/fs/cgroup/cgroup.subtree_control || :
        done 2>/dev/null
    fi
    # The subshell moves itself, and nobody else.
    (
        for root in "${roots[@]}"; do echo 0 >"$root/$1/cgroup.procs"; done
        exec setpriv --pdeathsig KILL unshare --cgroup bash "$0" "$1" "$2" "$3" "$4" middle
    )
    ;;
middle)
    # A cgroup of v2 that has processes can hand no controller on: so the root of the namespace has none.
    for root in $(mounted cgroup2); do
        mkdir "$root/$1/caller"
        echo 0 >"$root/$1/caller/cgroup.procs"
    done
    exec unshare --net --mount --propagation private --uts --ipc --pid --fork --kill-child --mount-proc \
        bash "$0" "$1" "$2" "$3" "$4" inner
    ;;
inner)
    has_v2=$(mounted cgroup2)
    umount -R -l /sys/fs/cgroup
    if grep -qv '^0:' /proc/self/cgroup && [ "$has_v2" != /sys/fs/cgroup ]; then
        mount -t tmpfs -o mode=755 none /sys/fs/cgroup
        while IFS=: read -r _ list _; do
            name=${list#name=}
            if [ -z "$name" ] && [ -z "$has_v2" ]; then continue; fi
            mkdir "/sys/fs/cgroup/${name:=unified}"
            case $list in
            '') mount -t cgroup2 none /sys/fs/cgroup/unified ;;
            name=*) mount -t cgroup -o "none,$list" none "/sys/fs/cgroup/$name" ;;
            *) mount -t cgroup -o "$list" none "/sys/fs/cgroup/$name" ;;
            esac
        done </proc/self/cgroup
    else
        mount -t cgroup2 none /sys/fs/cgroup
    fi
    for dir in /run /srv /var/lib /usr/local/sbin; do mount -t tmpfs -o mode=755 none "$dir"; done
    cp "$3" /usr/local/sbin/pinnace
    cp "$4" /usr/local/sbin/pinnace-image
    # Of a link the target, which may be in the /run that is hidden.
    names=$(realpath -m /etc/resolv.conf)
    case $names in /run/*) mkdir -p "${names%/*}" && : >"$names" ;; esac
    echo nameserver 192.0.2.53 >"$2/resolv.conf"
    mount --bind "$2/resolv.conf" "$names"
    hostname host
    ip link set lo up
    ip link add lan0 type veth peer name lan1
    ip address add 203.0.113.1/24 dev lan0
    ip link set lan0 up
    ip link set lan1 up
    ip route add default via 203.0.113.2
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root
    unset RUNTIME DRIVER XDG_RUNTIME_DIR
    exec 8>"$2/before" 9>"$2/after"
    seen() {
        ip -o link show | cut -d: -f2
        ip netns list
        nft list tables
        find /sys/fs/cgroup /srv /run -mindepth 1 \( -type d -o -path '/srv/*' \) -not -path /run/pinnace \
            -not -path /run/pinnace-net -not -path /run/netns
        # iproute2 leaves its own.
        cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/run/netns
    }
    set +eu
    directory=$2
    shift 5
    cd /srv
    seen >&8
    for file in "$directory"/commands/*; do
        number=${file##*/}
        eval "$(<"$file")" >"$directory/output/$number" 2>&1 </dev/null 8>&- 9>&-
        echo $? >"$directory/status/$number"
    done
    seen >&9
    ;;
esac
