#!/usr/bin/env bash
# Checks everything on a fresh machine: makes .venv, installs, lints, checks types, runs the tests.
#     tests/run.sh                             all of it
#     tests/run.sh tests/plots/plots_test.py   further arguments go to pytest
# PYTHON names the interpreter that makes .venv (default: python3; 3.11 to 3.13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BUILDIFIER_VERSION=8.2.1
export TF_CPP_MIN_LOG_LEVEL=2

if [[ ! -x .venv/bin/python ]]; then
  "${PYTHON:-python3}" -c 'import sys; v = sys.version_info[:2]; sys.exit(
    None if (3, 11) <= v <= (3, 13) else "Python 3.11 to 3.13 is needed, found %d.%d." % v)'
  "${PYTHON:-python3}" -m venv .venv
fi
python=.venv/bin/python

# The stamp holds the hash of what was installed last, so that a second run starts at once.
wanted="$("$python" -c 'import hashlib, pathlib; print(hashlib.sha256(b"".join(
    pathlib.Path(f"requirements{part}.txt").read_bytes() for part in ("", "-dev", "-docs"))).hexdigest())')"
if [[ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]]; then
  echo "Installing requirements.txt, requirements-dev.txt and requirements-docs.txt into .venv ..."
  "$python" -m pip install --quiet -r requirements.txt -r requirements-dev.txt -r requirements-docs.txt
  echo "$wanted" >.venv/installed
fi

# Every check runs even when an earlier one fails, so that one run shows everything.
failed=()
check() {
  echo "== $1"
  shift
  "$@" || failed+=("$*")
}

check "ruff check" "$python" -m ruff check .
check "ruff format" "$python" -m ruff format --check .
check "pyright" "$python" -m pyright --pythonpath "$python"
if command -v npx >/dev/null; then
  check "buildifier" npx --yes "@bazel/buildifier@$BUILDIFIER_VERSION" -mode=check -lint=warn BUILD
else
  echo "== buildifier: skipped, since there is no npx (Node.js) on this machine"
fi

if ((${#failed[@]})); then
  printf 'Failed check (this run will end with exit code 1): %s\n' "${failed[@]}"
fi

# Pytest comes last, so that its closing line is the last line of every run.
echo "== pytest"
"$python" -m pytest -n 2 --dist loadfile "$@" || exit
exit "$((${#failed[@]} > 0))"
