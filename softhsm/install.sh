#!/usr/bin/env bash
# softhsm/install.sh [run|verify|test|ci]: installs, with apt, what is missing; says nothing where nothing is.
#
#   run     build the service and run it on a SoftHSM2 token (the default)
#   verify  check a minted token (softhsm/verify.sh)
#   test    run, verify, and the tests
#   ci      test, and what .ci/run needs besides
#
# Rust is not installed here: https://rustup.rs does it better.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=softhsm/where.sh
. "$here/where.sh"

main() {
    local profile=${1:-run} missing=()
    case $profile in
        run) for_running ;;
        verify) for_verifying ;;
        test) for_running && for_verifying && for_testing ;;
        ci) for_running && for_verifying && for_testing && for_checking ;;
        *) fail "unknown profile '$profile': run, verify, test or ci" ;;
    esac
    [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"
}

# No cmake, Go or clang: aws-lc-sys and cryptoki-sys build with a C compiler alone on x86_64 and aarch64.
for_running() {
    command -v softhsm2-util >/dev/null && softhsm_module >/dev/null 2>&1 || missing+=(softhsm2)
    command -v cc >/dev/null || missing+=(gcc)
    command -v cc >/dev/null && echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || missing+=(libc6-dev)
    command -v curl >/dev/null || missing+=(curl)
}

for_verifying() {
    verifying_python >/dev/null 2>&1 || missing+=(python3 python3-jwt python3-cryptography)
}

# pkcs11-tool makes keys as other people make them, p11-kit puts the token into another process, libfaketime sets the clock of
# one process, jq reads JSON in the guide to rotation, protoc is for the build of the runtime's own verifier, and chromium looks
# at the status page.
for_testing() {
    command -v pkcs11-tool >/dev/null || missing+=(opensc)
    command -v p11-kit >/dev/null || missing+=(p11-kit p11-kit-modules)
    dpkg-query -W -f '${Status}' libfaketime 2>/dev/null | grep -q 'ok installed' || missing+=(libfaketime)
    command -v jq >/dev/null || missing+=(jq)
    [ -n "${PROTOC:-}" ] || command -v protoc >/dev/null || missing+=(protobuf-compiler)
    for_looking
}

# Ubuntu has chromium as a snap alone, which cannot read a test's own directories: there the tests say that they look at no
# page.
for_looking() {
    command -v chromium >/dev/null && command -v chromedriver >/dev/null && return
    grep -qx 'ID=ubuntu' /etc/os-release 2>/dev/null || missing+=(chromium chromium-driver)
}

for_checking() {
    command -v shellcheck >/dev/null || missing+=(shellcheck)
    # Both modules are of python3-venv; Debian's python3 alone has only the first.
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
}

install() {
    local root=()
    command -v apt-get >/dev/null ||
        fail "apt-get is not here, and only Debian and Ubuntu are known. Install the equivalents of: $*"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "neither root nor sudo. Have an administrator run: apt-get install $*"
        root=(sudo)
        # sudo asks for a password on the terminal, whatever stdin is. Without one it would fail obscurely.
        { : </dev/tty; } 2>/dev/null || sudo -n true 2>/dev/null ||
            fail "sudo wants a password and there is no terminal. Run: sudo apt-get install $*"
    fi
    echo "softhsm/install.sh: installing $*" >&2
    ${root[@]+"${root[@]}"} apt-get update -qq >&2 ||
        echo "softhsm/install.sh: apt-get update failed; going on with the package lists that are here" >&2
    ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2 ||
        fail "apt-get could not install: $*. Its messages are above"
}

fail() {
    echo "softhsm/install.sh: $1" >&2
    exit 1
}

main "$@"
