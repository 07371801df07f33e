#!/usr/bin/env bash
# softhsm/verify.sh [TOKEN] [--jwks URL|FILE]: verifies a token against the JWKS of the running service.
#
# Without TOKEN it reads one from stdin, or the whole answer of POST /tokens. Issuer and audience are checked too
# (MACP_AUTH_ISSUER, MACP_AUTH_AUDIENCE as for the service). Prints header, claims and verdict; exit 1 unless valid.
# Installs Debian's python3-jwt if no Python here can verify: a verifier that has nothing of our code.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=softhsm/where.sh
. "$here/where.sh"

verifying_python >/dev/null 2>&1 || "$here/install.sh" verify </dev/null
python=$(verifying_python)
exec "$python" "$here/verify.py" "$@"
