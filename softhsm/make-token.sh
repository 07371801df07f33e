#!/usr/bin/env bash
# softhsm/make-token.sh [--alg RS256|ES256] [BINARY]: makes a SoftHSM2 token and a signing key, or checks that they are there.
#
# BINARY is macp-auth-service, found on PATH unless given. The token lives in SOFTHSM_STATE_DIR (softhsm/.state):
#
#   softhsm2.conf  for SOFTHSM2_CONF          tokens/  SoftHSM2's own files
#   user-pin       for MACP_AUTH_PKCS11_PIN_FILE
#
# All is made in a directory beside it, renamed when complete: a state directory is whole or not there. A token that is
# there is left as it is. run.sh and the container image call this.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=softhsm/where.sh
. "$here/where.sh"
# shellcheck source=softhsm/token.sh
. "$here/token.sh"
umask 077

state=${SOFTHSM_STATE_DIR:-$here/.state}
scratch=

main() {
    local wanted='' binary=macp-auth-service
    while [ $# -gt 0 ]; do
        case $1 in
            --alg) wanted=${2:-} && shift $(($# > 1 ? 2 : 1)) && is_algorithm "$wanted" ;;
            --alg=*) wanted=${1#--alg=} && shift && is_algorithm "$wanted" ;;
            -*) fail "unknown option $1. Usage: softhsm/make-token.sh [--alg RS256|ES256] [BINARY]" ;;
            *) binary=$1 && shift ;;
        esac
    done
    mkdir -p "$(dirname "$state")"
    state=$(cd "$(dirname "$state")" && pwd)/$(basename "$state")
    trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
    # A signal ends the script by exit, so that the trap above cleans up.
    trap 'exit 130' INT
    trap 'exit 143' TERM

    if [ -f "$state/user-pin" ] && [ -d "$state/tokens" ]; then
        configure "$state" "$state"
        check_keys "$binary" "$wanted"
    else
        rmdir "$state" 2>/dev/null || [ ! -e "$state" ] ||
            fail "$state is there but holds no token of this script. Remove it, or set SOFTHSM_STATE_DIR to another directory"
        make "$binary" "${wanted:-RS256}"
    fi
}

# Everything in a scratch directory, then one rename.
make() {
    local binary=$1 algorithm=$2 pin
    scratch=$(mktemp -d "$state.new.XXXXXX")
    mkdir "$scratch/tokens"
    pin=$(random_pin)
    printf '%s\n' "$pin" >"$scratch/user-pin"
    configure "$scratch" "$scratch"
    # softhsm2-util takes PINs from its arguments or a terminal only. Whoever reads them from the process list still
    # cannot read the token's files. The SO PIN is not kept: such a token is replaced, not repaired.
    SOFTHSM2_CONF=$scratch/softhsm2.conf softhsm2-util --init-token --free --label "$token_label" \
        --so-pin "$(random_pin)" --pin "$pin" >/dev/null
    service "$scratch" "$binary" keys generate --alg "$algorithm" >&2
    configure "$scratch" "$state"
    [ ! -e "$state" ] || fail "$state appeared meanwhile: another run made it. Run this again to use it"
    mv "$scratch" "$state"
    scratch=
    echo "softhsm/make-token.sh: token '$token_label' with an $algorithm key in $state" >&2
}

check_keys() {
    local binary=$1 wanted=$2 listed present
    listed=$(service "$state" "$binary" keys list)
    present=$(printf '%s\n' "$listed" | grep -owE 'RS256|ES256' | sort -u | tr '\n' ' ') || true
    present=${present% }
    if [ -z "$present" ]; then
        service "$state" "$binary" keys generate --alg "${wanted:-RS256}" >&2
    elif [ -n "$wanted" ] && [[ " $present " != *" $wanted "* ]]; then
        fail "the token in $state has an $present key and none for $wanted. Either start afresh: rm -r '$state'
or keep both: SOFTHSM_STATE_DIR='$state-$(printf %s "$wanted" | tr '[:upper:]' '[:lower:]')' softhsm/run.sh --alg $wanted"
    fi
}

# service DIRECTORY BINARY ARGUMENT…: runs the binary on the token there.
service() (
    token_environment "$1"
    shift
    "$@"
)

# configure DIRECTORY FUTURE: writes the SoftHSM2 configuration, which holds an absolute path: a moved checkout still works.
configure() {
    printf '%s\n' \
        "directories.tokendir = $2/tokens" \
        'objectstore.backend = file' \
        'log.level = ERROR' >"$1/softhsm2.conf"
}

random_pin() {
    head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

fail() {
    echo "softhsm/make-token.sh: $1" >&2
    exit 1
}

main "$@"
