#!/usr/bin/env bash
# softhsm/run.sh [--alg RS256|ES256] [COMMAND…]: the service on a SoftHSM2 token, in the foreground; Ctrl-C stops it.
#
# The first run installs SoftHSM2 if it is missing, builds the service, and makes a token and a key in softhsm/.state;
# later runs use those again. With a COMMAND (keys list, jwks, …) that runs on the token instead of the service.
# PORT and every MACP_AUTH_* setting pass through; SOFTHSM_STATE_DIR is another place for the token.
# SERVICE_BINARY is a built binary to use instead of building.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=softhsm/where.sh
. "$here/where.sh"
# shellcheck source=softhsm/token.sh
. "$here/token.sh"

main() {
    local wanted='' binary state=${SOFTHSM_STATE_DIR:-$here/.state}
    case ${1:-} in
        -h | --help) usage && exit ;;
        --alg) wanted=${2:-} && shift $(($# > 1 ? 2 : 1)) && is_algorithm "$wanted" ;;
        --alg=*) wanted=${1#--alg=} && shift && is_algorithm "$wanted" ;;
        -*) fail "unknown option $1. See softhsm/run.sh --help" ;;
    esac
    "$here/install.sh" run
    binary=${SERVICE_BINARY:-$(build)}
    SOFTHSM_STATE_DIR=$state "$here/make-token.sh" ${wanted:+--alg "$wanted"} "$binary"

    token_environment "$(cd "$state" && pwd)"
    # Of several keys on the token the asked algorithm signs; without --alg the service decides.
    [ -z "$wanted" ] || export MACP_AUTH_SIGNING_ALG=$wanted
    # exec: signals reach the service itself, and its exit code is ours.
    exec "$binary" "$@"
}

# A debug build: the C of aws-lc, most of the wait, is optimised there too, and `cargo run` and the tests share it.
build() {
    command -v cargo >/dev/null || fail "cargo is not here. Install Rust (https://rustup.rs), then run this again"
    cargo build --locked --manifest-path "$here/../Cargo.toml" --bin macp-auth-service \
        --message-format=json-render-diagnostics </dev/null |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

fail() {
    echo "softhsm/run.sh: $1" >&2
    exit 1
}

main "$@"
