#!/usr/bin/env bash
# softhsm/test.sh [ARGUMENT…]: installs what the tests need, builds the runtime's own verifier and the fault-injecting module, and
# runs all tests.
# The arguments go to `cargo test`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

"$here/install.sh" test
command -v cargo >/dev/null || {
    echo "softhsm/test.sh: cargo is not here. Install Rust (https://rustup.rs), then run this again" >&2
    exit 1
}
cd "$here/.."
# Packages of their own, which `cargo test` alone would not build: the runtime's verifier with its protobuf code, and the
# module that injects faults.
cargo build --locked -p runtime-verifier -p fault-module
exec cargo test --locked -p macp-auth-service -p fault-module "$@"
