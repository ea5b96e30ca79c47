#!/bin/sh
# Rewrite the locks from pyproject.toml (needs uv): lock.txt for the study, test.txt for the tests,
# and pins.txt, lock.txt without its hashes, for environment.yml (pip refuses a torch without a
# hash beside hashed lines, and conda makes one pip call of them all). Pins move only where
# pyproject.toml asks for it; delete a lock first to take everything newest. torch and the CUDA
# wheels that only its GPU build pulls in stay out: which build a machine takes is its own business.
set -eu
cd "$(dirname "$0")/.."
skip="--no-emit-package torch --no-emit-package triton"
compile() { # output, extra arguments
  out=$1
  shift
  # shellcheck disable=SC2086 # $skip is a list of options
  uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate \
    --generate-hashes $skip "$@" pyproject.toml -o "$out"
}
gpu_only() { # names of packages that only the CUDA build of torch asks for
  uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate "$@" \
    pyproject.toml | sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+)==.*/\1/p' | sort -u
}
for name in $(gpu_only --extra test --extra oracles); do
  skip="$skip --no-emit-package $name"
done
compile requirements/test.txt --extra test --extra oracles
compile requirements/lock.txt --constraint requirements/test.txt
sed -nE 's/^([a-z0-9][^\\]*[^\\ ]) *\\?$/\1/p' requirements/lock.txt > requirements/pins.txt
