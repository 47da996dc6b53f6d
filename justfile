# The commands that people repeat: `just` lists them. Each calls a script or cargo, which work without just.

# Lists the commands.
default:
    @just --list --unsorted

# Serves the metrics of this machine's JVMs on http://localhost:9850.
run *arguments:
    cargo run --release -- {{ arguments }}

# Checks format and lints.
lint:
    scripts/lint

# Runs the tests that need no installation.
test *arguments:
    cargo test --locked {{ arguments }}

# Runs the fast tests: no network, no download.
fast:
    ./test.sh --fast

# Installs what the tests need and runs all of them.
full:
    ./test.sh

# Tests charts and manifests on a real Kubernetes node, as root.
cluster:
    ./test.sh --cluster

# Accepts changed outputs and writes docs/metrics.md; look at the difference before you commit it.
golden:
    UPDATE_GOLDEN=1 cargo test --locked

# Checks licences, banned crates and sources of the dependencies.
deny *checks:
    scripts/deny {{ checks }}

# Writes docs/licences.md.
licences:
    scripts/licences

# Copies dashboards and rules into the chart.
chart-files:
    scripts/chart-files

# Checks the workflows and this file.
workflows:
    scripts/check-workflows

# Compiles with the oldest Rust that Cargo.toml promises.
msrv:
    scripts/msrv

# Fuzzes each target for that many seconds.
fuzz seconds="30" *targets:
    scripts/fuzz install
    scripts/fuzz seconds {{ seconds }} {{ targets }}

# Measures single functions.
bench *arguments:
    cargo bench --locked {{ arguments }}

# Measures the release binary, beside the floor of each figure.
measure *arguments:
    scripts/bench {{ arguments }}

# Measures what JVMs pay for the exporter and for its peers, in one run; as root.
compare *arguments:
    scripts/compare {{ arguments }}

# Makes archive, Debian package and bill of materials of this commit in target/dist.
dist:
    scripts/release build
    scripts/release charts
    scripts/release sums
