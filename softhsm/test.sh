#!/usr/bin/env bash
# softhsm/test.sh [ARGUMENT…]: installs what the tests need, builds the runtime's own verifier, and runs all tests.
# The arguments go to `cargo test`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

"$here/install.sh" test
command -v cargo >/dev/null || {
    echo "softhsm/test.sh: cargo is not here. Install Rust (https://rustup.rs), then run this again" >&2
    exit 1
}
cd "$here/.."
# A package of its own, because it builds the runtime's protobuf code: `cargo test` alone would not build it.
cargo build --locked -p runtime-verifier
exec cargo test --locked "$@"
