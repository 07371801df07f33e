# shellcheck shell=bash
# The development token: its label, its files, and the settings that point the service at it. Sourced, after where.sh.

token_label=macp-dev

# token_environment DIRECTORY: exports what SoftHSM2 and the service need to use the token there.
token_environment() {
    MACP_AUTH_PKCS11_MODULE=$(softhsm_module) || return
    export MACP_AUTH_PKCS11_MODULE
    export MACP_AUTH_PKCS11_TOKEN_LABEL=$token_label
    export MACP_AUTH_PKCS11_PIN_FILE=$1/user-pin
    export SOFTHSM2_CONF=$1/softhsm2.conf
}

# is_algorithm NAME: or says what is.
is_algorithm() {
    case $1 in
        RS256 | ES256) ;;
        *) echo "--alg must be RS256 or ES256 (got '$1')" >&2 && return 1 ;;
    esac
}
