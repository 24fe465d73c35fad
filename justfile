# What a contributor runs; `just` alone lists it. Set-up: CONTRIBUTING.md.

python := env("PYTHON", "python3")

_list:
    @just --list --unsorted

# Tests; a room alone: just test tests/unit/search
test *arguments:
    {{python}} -m pytest {{arguments}}

# Style and format, and mend what can be mended: just lint --fix
lint *arguments:
    ruff check . {{arguments}}
    ruff format .

# Types, strictly
types: (_laid "mypy -p vecstore")

# A room imports only from rooms below it
rooms: (_laid "lint-imports")

# Write the golden stores of a new version of the format; never replaces any
golden:
    {{python}} tests/compat/make_golden.py

# Measure codecs on a small set of real vectors, in a minute or two
bench-quick:
    {{python}} -m vecstore bench digits --quick --out build/bench

# Build the documentation into build/site; every warning is an error
docs:
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# Write what the documentation takes from the code: its pictures, and the names that are public
write-docs:
    {{python}} -m vecstore.bench.scripts.docs_pictures --out docs/images
    {{python}} -m vecstore.bench.scripts.docs_api --write docs/api.md

# All that has to pass before a change goes in, in an environment of its own
check:
    .ci/run

# Run a command where formats/ and bench/ lie inside the package, as in a wheel
_laid command:
    #!/usr/bin/env bash
    set -euo pipefail
    tree=$(mktemp -d)
    trap 'rm -rf "$tree"' EXIT
    .ci/lay "$tree"
    cache=$PWD/.mypy_cache
    cd "$tree" && MYPY_CACHE_DIR=$cache {{command}}
