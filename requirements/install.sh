#!/bin/sh
# Put one hashed lock into one virtual environment, made if absent:
#   requirements/install.sh .venv requirements/lock.txt
# torch comes first and through pip, because its build is this machine's choice, made in pip's own
# configuration (index, find-links) or by TORCH_INDEX, the address of an index such as PyTorch's
# CPU one. The lock follows without dependencies, by uv where it is at hand (a minute), else by pip
# (five). PYTHON names the interpreter for a new environment; the default is the first of python3,
# python3.13, python3.12, python3.11 that is 3.11 to 3.13.
set -eu
venv=$1
lock=$2
here=$(cd "$(dirname "$0")/.." && pwd)

quiet=-q
if [ -t 1 ]; then quiet=; fi # progress bars in a terminal, a line a step in a log
say() { printf '%s\n' "$*"; }
fail() {
  say "$*" >&2
  exit 1
}
fits() { # does this interpreter run, and is it one that the lock is for?
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null
}

python=$venv/bin/python
if ! fits "$python"; then
  among=${PYTHON:-python3 python3.13 python3.12 python3.11}
  for base in $among ""; do
    [ -n "$base" ] || fail "No Python 3.11 to 3.13 among: $among. Install one, or name it:" \
      "make study PYTHON=/path/to/python3.12"
    if fits "$base"; then break; fi
  done
  say "$venv: a new environment of $("$base" --version)"
  "$base" -m venv --clear "$venv" ||
    fail "Python's venv module did not work: on Debian and Ubuntu, apt-get install python3-venv"
fi
"$python" -m pip --version > /dev/null 2>&1 || "$python" -m ensurepip > /dev/null # uv's have none

torch=$(sed -nE 's/^ *"(torch==[^"]+)",.*/\1/p' "$here/pyproject.toml")
installed=$("$python" -c 'from importlib.metadata import version; print(version("torch"))' \
  2> /dev/null || true)
if [ "${installed%%+*}" != "${torch#torch==}" ] || [ -n "${TORCH_INDEX:-}" ]; then
  say "$venv: $torch${TORCH_INDEX:+ from $TORCH_INDEX}"
  "$python" -m pip install $quiet ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch" ||
    fail "pip could not install $torch: is the network there, and an index that pip may use?"
fi

with_uv() { # uv reads neither pip's variables nor its configuration: hand over what it can take
  command -v uv > /dev/null && uv --version > /dev/null 2>&1 || return 1
  say "$venv: $lock, by uv"
  links=$(printf %s "${PIP_FIND_LINKS:-}" | tr ' ' ',')
  [ -z "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"
  [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
  UV_COMPILE_BYTECODE=1 uv pip install $quiet --python "$python" \
    --no-deps --require-hashes -r "$lock"
}
with_pip() { # pip compiles what it installs, whatever PYTHONDONTWRITEBYTECODE says
  say "$venv: $lock, by pip: about five minutes"
  "$python" -m pip install $quiet --use-pep517 --no-deps --require-hashes -r "$lock"
}
with_uv || with_pip || fail "$lock could not be installed: the lines above name the package"
"$python" -m pip check || fail "$venv holds packages that contradict each other: rm -r $venv, again"

# `import steps` works from any folder inside the environment: a path, not an install.
"$python" - "$here" << 'EOF'
import os, sys, sysconfig
site = sysconfig.get_path("purelib")
with open(os.path.join(site, "sightline.pth"), "w") as file:
    file.write(os.path.relpath(sys.argv[1], site) + "\n")
EOF
