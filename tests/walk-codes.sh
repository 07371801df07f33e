#!/usr/bin/env bash
# tests/walk-codes.sh: one service process for each PKCS#11 function that signing needs, led through all CKR codes, each as a
# short fault and as one that lasts a second. About ten minutes; `softhsm/test.sh` walks them in shorter form.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

MACP_TEST_WALK=alone exec "$here/../softhsm/test.sh" --test it faults_codes:: -- --test-threads 7
