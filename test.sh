#!/usr/bin/env bash
# Checks everything. The last line is the sum: "N passed, N failed, N skipped".
#
#     ./test.sh           installs what the tests need (scripts/test-tools) and runs all of them
#     ./test.sh --fast    takes three minutes, installs and downloads nothing: format, lints, and the quick tests, of
#                         which those that miss a tool are skipped with the reason
#     ./test.sh --cluster runs what needs a Kubernetes node, as root: a minute once its programs are built
#
# With CI=true, JDK 17 and 25 must be there, and each fuzzer runs for 20 seconds.
set -euo pipefail
cd "$(dirname "$0")"

# What takes long, by parts of names: fights with files, sockets and loads, an API server, images.
slow=(
    a_hundred_thousand_files
    a_region_that_is_truncated_and_replaced
    api_server::
    attack::
    dashboards::queries::
    facts::asked::
    facts::both::
    facts::live::
    faults::
    image::
    memory::
    node::
    sampler::
    schemas::
    systemd::
)

# Tests wait more than they compute; those that need the processors for themselves take turns.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

log=target/test.log
failed_steps=()

say() {
    printf '\n== %s\n' "$*"
}

# A name, and a command whose failure does not keep the others from running.
check() {
    local name=$1 start=$SECONDS
    shift
    say "$name"
    "$@" 2>&1 | tee -a "$log" || failed_steps+=("$name")
    echo "-- $name: $((SECONDS - start)) s"
}

# No test takes minutes; one that hangs must not take the whole limit of a build server with it.
tests() {
    timeout 40m cargo test --locked --no-fail-fast "$@"
}

bench_smoke() {
    if command -v python3 >/dev/null; then
        scripts/bench --profile dev --regions 1,10 --rounds 5 --pushes 5
    else
        echo "SKIP scripts/bench: no python3"
    fi
}

# Every committed input once; under CI also 20 seconds of new ones for each target.
fuzz() {
    if ! scripts/fuzz install; then
        echo "SKIP scripts/fuzz: cargo-fuzz cannot be installed"
        [ "${CI:-}" != true ]
        return
    fi
    scripts/fuzz replay && { [ "${CI:-}" != true ] || scripts/fuzz seconds 20; }
}

# Only what no test wants of the processors.
idle() {
    chrt --idle --pid 0 "$BASHPID" >/dev/null || renice -n 19 "$BASHPID" >/dev/null
    "$@"
}

compile_rest() {
    scripts/test-tools cluster >target/cluster.log 2>&1 || true
    scripts/fuzz build >target/fuzz.log 2>&1
}

# What the tests with JVMs need first, as target/test-tools.done says, and then the rest.
compile_others() {
    nice -n 19 scripts/test-tools compiled >target/test-tools.log 2>&1 || true
    : >target/test-tools.done
    idle compile_rest
}

# What is compiled for later comes beside the tests, which wait more than they compute.
whole() {
    scripts/test-tools quick
    say "Compiling the other tools meanwhile: target/test-tools.log"
    rm -f target/test-tools.done
    compile_others &
    check "Format and lints" scripts/lint
    check "Dependencies" scripts/deny
    check "Workflows" scripts/check-workflows
    check "Tests without JVMs" tests --lib --bins --test core --test security
    check "Examples of the documentation" tests --doc
    say "Waiting for the other tools"
    until [ -e target/test-tools.done ]; do sleep 1; done
    grep -a 'will be skipped' target/test-tools.log || true
    check "Tests with JVMs" tests --test jvm
    check "Tests of what is deployed" tests --test deploy -- --skip api_server:: --skip node::
    say "Waiting for the API server"
    wait || true
    grep -a 'will be skipped' target/cluster.log || true
    check "Tests with an API server" tests --test deploy api_server::
    check "Tests on a Kubernetes node" tests --test deploy node::
    check "Bench, a few rounds" bench_smoke
    check "Fuzzing" fuzz
}

fast() {
    export CARGO_NET_OFFLINE=true
    check "Format and lints" scripts/lint
    check "Dependencies" scripts/deny
    check "Workflows" scripts/check-workflows
    check "Quick tests" tests -- "${slow[@]/#/--skip=}"
}

cluster() {
    scripts/test-tools quick
    scripts/test-tools cluster
    check "Tests on a Kubernetes node" tests --test deploy node::
}

# The number before a word, added up over the result lines of all test binaries.
sum() {
    grep -oE "^test result: .*" "$log" | grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }'
}

summarize() {
    local skips passed failed ignored skipped=0
    skips=$(grep -aoE 'SKIP [^ ]+: .*' "$log" | sort -u || true)
    if [ -n "$skips" ]; then
        say "Skipped"
        echo "$skips"
        skipped=$(echo "$skips" | awk '{ print $2 }' | sort -u | wc -l)
    fi
    passed=$(sum passed)
    failed=$(sum failed)
    ignored=$(sum ignored)
    if [ ${#failed_steps[@]} -gt 0 ]; then
        say "Failed"
        printf '%s\n' "${failed_steps[@]}"
        # A failed step without a failed test is a failure of its own.
        if [ "$failed" -lt ${#failed_steps[@]} ]; then failed=${#failed_steps[@]}; fi
    fi
    echo
    echo "$((passed - skipped)) passed, $failed failed, $((skipped + ignored)) skipped"
    [ "$failed" = 0 ]
}

mkdir -p target
: >"$log"
case "${1:-}" in
"") whole ;;
--fast) fast ;;
--cluster) cluster ;;
*)
    sed -n '2,8s/^# \?//p' "$0" >&2
    exit 64
    ;;
esac
summarize
