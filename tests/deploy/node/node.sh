#!/usr/bin/env bash
# The namespaces and control groups that a Kubernetes node of the tests lives in, and what runs in them from the start:
# containerd at once, and the kubelet when the API server of the test has given it a configuration.
#
#     node.sh supervise DIRECTORY GROUP    makes them, and lives as long as its standard input is open; ends every process
#                                          of the node then, and removes DIRECTORY and the groups. DIRECTORY/process
#                                          tells the first process.
#     node.sh run DIRECTORY GROUP          the first process of the namespaces
set -euo pipefail

directory=$2
# Of every hierarchy of control groups, this one holds the node's programs, and `kubepods` beside it the pods.
group=$3

# The mounted hierarchies: one on version 2, one of each controller on version 1.
hierarchies() {
    awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts
}

# On version 1 a new group has no processors and no memory nodes until it is given some. On version 2 a group hands its
# controllers down as long as no process is in it.
make_groups() {
    local hierarchy file
    for hierarchy in $(hierarchies); do
        mkdir -p "$hierarchy/$group"
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$hierarchy/tasks" ] && [ -e "$hierarchy/$file" ]; then
                cat "$hierarchy/$file" >"$hierarchy/$group/$file"
            fi
        done
        if [ -s "$hierarchy/$group/cgroup.controllers" ]; then
            sed 's/\</+/g' "$hierarchy/$group/cgroup.controllers" >"$hierarchy/$group/cgroup.subtree_control"
        fi
        mkdir -p "$hierarchy/$group/programs"
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$hierarchy/tasks" ] && [ -e "$hierarchy/$file" ]; then
                cat "$hierarchy/$file" >"$hierarchy/$group/programs/$file"
            fi
        done
    done
}

# The groups of this node, and of those whose supervisor was killed too: their names end in the pid of the test.
remove_groups() {
    local hierarchy directory
    for hierarchy in $(hierarchies); do
        for directory in "$hierarchy/$group" "$hierarchy/${group%-*}"-*; do
            if [ -d "$directory" ] && { [ "$directory" = "$hierarchy/$group" ] || ! [ -e "/proc/${directory##*-}" ]; }; then
                find "$directory" -depth -type d -exec rmdir {} +
            fi
        done
    done
}

supervise() {
    make_groups
    setpriv --pdeathsig=KILL unshare --fork --kill-child --pid --mount-proc --mount --net --uts --ipc \
        "$0" run "$directory" "$group" </dev/null &
    local namespaces=$!
    while [ ! -e "$directory/made" ] && kill -0 "$namespaces"; do sleep 0.05; done
    cat "/proc/$namespaces/task/$namespaces/children" >"$directory/process.new"
    mv "$directory/process.new" "$directory/process"
    while read -r _; do :; done
    # With its first process a pid namespace ends, and unshare waits for the last.
    kill -KILL "$(tr -d ' ' <"$directory/process")" || true
    wait "$namespaces" || true
    remove_groups
    rm -rf "$directory"
}

make_network() {
    ip link set lo up
    ip link add name node type bridge
    ip address add 198.18.0.1/24 dev node
    ip link set node up
    ip route add default via 198.18.0.1
    echo 1 >/proc/sys/net/ipv4/ip_forward
    hostname node
}

describe_network() {
    mkdir /run/node/cni
    cat >/run/node/cni/node.conflist <<'END'
{"cniVersion": "0.4.0", "name": "node", "plugins": [{
    "type": "bridge", "bridge": "pods", "isGateway": true,
    "ipam": {"type": "host-local", "dataDir": "/run/node/addresses", "ranges": [[{"subnet": "198.18.1.0/24"}]],
             "routes": [{"dst": "0.0.0.0/0"}]}
}]}
END
}

# The file system of the machine, but for what a node writes. All that is in memory, so that nothing of it outlives the node.
make_mounts() {
    mount --make-rprivate /
    mount --make-rshared /
    mount -t tmpfs none /run
    mkdir -p /run/node/kubelet /run/node/log
    mount --bind /run/node/kubelet /run/node/kubelet
    mount --make-rshared /run/node/kubelet
    mount --bind /run/node/log /var/log
    # What has no setting: sockets for devices, results of network plugins.
    mkdir -p /run/node/lib/{new,work}
    mount -t overlay -o lowerdir=/var/lib,upperdir=/run/node/lib/new,workdir=/run/node/lib/work none /var/lib
    : >/run/node/resolv.conf
}

run() {
    local hierarchy
    for hierarchy in $(hierarchies); do
        echo $$ >"$hierarchy/$group/programs/cgroup.procs"
    done
    make_mounts
    make_network
    describe_network
    : >"$directory/made"
    containerd --config "$directory/containerd.toml" >"$directory/containerd.log" 2>&1 &
    until [ -e "$directory/kubelet.yaml" ]; do sleep 0.1; done
    "$directory/kubelet" --config="$directory/kubelet.yaml" --kubeconfig="$directory/config" --hostname-override=node \
        --node-ip=198.18.0.1 --root-dir=/run/node/kubelet --cert-dir=/run/node/kubelet/pki >"$directory/kubelet.log" 2>&1 &
    # As the first process of its namespace, it is given those whose parents have ended.
    while true; do wait -n || sleep 1; done
}

case "${1:-}" in
# In a session of its own: what kills the test with its group must not keep this from clearing away.
supervise) exec setsid "$0" attend "$directory" "$group" ;;
attend) supervise ;;
run) run ;;
*)
    sed -n '5,8s/^# \?//p' "$0" >&2
    exit 64
    ;;
esac
