# Runs a command, such as nspawn, until standard input ends: whoever holds its other end may be killed, and nothing stays.
# Arguments: a name for its groups, and the command.
exec 3<&0
name=$1
shift
groups=
for top in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e "$top/cgroup.procs" ] && mkdir "$top/$name"; then groups="$groups $top/$name"; fi
done
# Processes of the machine die with the first one of their namespace, and mounts with the last one.
setpriv --pdeathsig KILL sh -ec '
    for group in $1; do echo $$ >"$group/cgroup.procs"; done
    shift
    exec unshare --mount --pid --fork --kill-child --mount-proc sh -ec "mount -t tmpfs tmpfs /run; exec \"\$@\"" sh "$@"
' sh "$groups" "$@" </dev/null 3<&- &
machine=$!
{ cat <&3 >/dev/null; kill -KILL $machine; } &
end=$!
wait $machine || true
kill $end 2>/dev/null || true
for group in $groups; do
    for attempt in $(seq 100); do
        if find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; then break; fi
        sleep 0.1
    done
done
