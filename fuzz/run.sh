#!/usr/bin/env bash
# Runs every fuzz target for some seconds each: fuzz/run.sh [SECONDS [TARGET...]]
# What libFuzzer finds on its way is kept in a temporary directory; the corpus in the repository grows
# by hand. An input that breaks a target is left in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-10}
shift || true
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
    targets=(startup_packet hba users_cfg configuration ledger_entry scram)
fi

# cargo-fuzz needs flags that only a nightly compiler takes; the pinned one takes them with this.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="$PWD/target"
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

if ! cargo fuzz --version >/dev/null 2>&1; then
    env -u CARGO_TARGET_DIR cargo install cargo-fuzz --locked --version 0.13.2
fi

cargo fuzz build --fuzz-dir .

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in "${targets[@]}"; do
    echo "=== fuzz $target for $seconds s"
    mkdir "$found/$target"
    cargo fuzz run --fuzz-dir . "$target" "$found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=70000 \
        -verbosity=0 -print_funcs=0 -print_final_stats=1 2>&1 |
        grep -v -e "# Uses: " -e "ecommended dictionary"
done
