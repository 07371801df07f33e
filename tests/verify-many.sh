#!/usr/bin/env bash
# tests/verify-many.sh [COUNT]: mints COUNT (10,000) tokens of each algorithm on SoftHSM2 and verifies every one with
# jsonwebtoken 9, jsonwebtoken 11 and the runtime's own verifier. Too long for each run of the tests.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

MACP_TEST_TOKENS=${1:-10000} exec "$here/../softhsm/test.sh" --test it verifiers::
