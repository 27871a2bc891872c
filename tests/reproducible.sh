#!/bin/sh
# Runs a cargo command so that its output contains no path of this machine:
#
#     sh tests/reproducible.sh cargo build --release --locked
#
# builds the same bytes in every folder and with every CARGO_HOME, as long as compiler,
# linker and C compiler are the same.
set -eu
home=${CARGO_HOME:-$HOME/.cargo}
# The program contains the paths of panics, which are below these two folders. The last
# prefix that fits counts. (Cargo has no setting for it.)
flags="--remap-path-prefix=$PWD=."
flags="$flags$(printf '\037')--remap-path-prefix=$home/registry/src=/registry"
CARGO_ENCODED_RUSTFLAGS=$flags exec "$@"
