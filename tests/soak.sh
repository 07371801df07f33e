#!/usr/bin/env bash
# tests/soak.sh [MINUTES]: a release build under load and random faults for that long (10). Prints what docs/reliability.md shows;
# fails where a promise does not hold.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

MACP_TEST_SOAK_SECONDS=$((${1:-10} * 60)) exec "$here/../softhsm/test.sh" --release --test it soak:: -- --nocapture
