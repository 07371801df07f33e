# shellcheck shell=bash
# Where things are on this machine. Sourced by the scripts beside it; sets nothing, prints what it finds.

# The absolute path of SoftHSM2's PKCS#11 module. SOFTHSM2_MODULE overrides the search.
softhsm_module() {
    local candidate
    for candidate in \
        ${SOFTHSM2_MODULE:+"$SOFTHSM2_MODULE"} \
        /usr/lib/softhsm/libsofthsm2.so \
        /usr/lib/*/softhsm/libsofthsm2.so \
        /usr/lib64/softhsm/libsofthsm2.so \
        /usr/lib64/pkcs11/libsofthsm2.so \
        /usr/local/lib/softhsm/libsofthsm2.so \
        /opt/homebrew/lib/softhsm/libsofthsm2.so; do
        if [ -f "$candidate" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "libsofthsm2.so is in none of the usual places. Run softhsm/install.sh, or set SOFTHSM2_MODULE to its path." >&2
    return 1
}

# A Python that can verify a JWT. The system's first: apt installs for that one, a version manager's may hide it.
verifying_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        if "$candidate" -c 'import jwt, cryptography; jwt.PyJWK' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "no python3 with PyJWT and cryptography. Run softhsm/install.sh verify, or: pip install 'pyjwt[crypto]'" >&2
    return 1
}
