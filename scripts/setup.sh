#!/bin/sh
# Builds .venv/ on a machine that has a Python with venv and, somewhere, a 3.12 or newer. Safe to run again, and
# quick when nothing has changed. `setup.sh` installs what running needs, `setup.sh dev` what the tests need as well.
set -eu
cd "$(dirname "$0")/.."
level=${1:-run}

say() { echo "setup: $*" >&2; }

# What .venv/ is to be built from. The path belongs to it: the programs in a copied environment point to the original.
fingerprint() { { pwd; cat pyproject.toml .python-version scripts/setup.sh; } | cksum; }

# True if .venv/ is what this checkout asks for; one for the tests serves for running too.
is_built() {
  [ -x .venv/bin/python ] && grep -Eqsx "$(fingerprint) ($level|dev)" .venv/built-from
}

# uv: the one on PATH if it answers and knows what we need (a pyenv shim may do neither), else our own in .tools/.
find_uv() {
  for uv in uv .tools/bin/uv; do
    "$uv" sync --all-groups --inexact --help >/dev/null 2>&1 && return
  done
  find_python_with_venv
  say "installing uv into .tools/"
  .tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13.8'
}

find_python_with_venv() {
  for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3 python; do
    rm -rf .tools
    "$python" -m venv .tools >/dev/null 2>&1 && .tools/bin/python -m pip --version >/dev/null 2>&1 && return
  done
  rm -rf .tools
  say "there is no uv here and no Python with venv and pip to install it with (Debian, Ubuntu: apt install python3-venv)"
  exit 1
}

# uv knows nothing of pip's own settings: a company's mirror is handed on, and so is what the machine trusts.
configure_uv() {
  export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
  mirror=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
  [ -z "$mirror" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$mirror}"
  mkdir -p "${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}/uv}" 2>/dev/null ||
    export UV_CACHE_DIR="$PWD/.tools/cache" # a user without a home
}

# uv looks for Pythons on PATH and among its own; pyenv's are added at the end, for its shims hide them. Only those
# that run: at a broken one uv gives up looking.
find_python() {
  for root in "${PYENV_ROOT:-}" "${HOME:-/nowhere}/.pyenv"; do
    for bin in "$root"/versions/3.1[2-9].*/bin; do
      "$bin/python3" --version >/dev/null 2>&1 && PATH="$PATH:$bin"
    done
  done
  export PATH
  wanted=$(cat .python-version)
  for request in "$wanted" '>=3.12'; do
    python=$("$uv" python find --no-project --no-python-downloads "$request" 2>/dev/null) && return
  done
  say "no Python 3.12 or newer here: asking uv to fetch $wanted"
  "$uv" python install --quiet "$wanted" && python=$wanted && return
  say "it could not be fetched: install Python 3.12 or newer, then run make again"
  exit 1
}

# --inexact: setting up for running removes nothing that the tests need.
build() {
  grep -Fqs "$PWD/.venv" .venv/bin/activate || rm -rf .venv
  [ "$level" = dev ] && groups=--all-groups || groups=--no-default-groups
  UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON=$python "$uv" sync --quiet --inexact --extra devdb "$groups"
  echo "$(fingerprint) $level" >.venv/built-from
}

is_built && exit 0
say "building .venv/ (the first time takes about 20 seconds)"
find_uv
configure_uv
find_python
build
