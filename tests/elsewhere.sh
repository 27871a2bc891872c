#!/bin/sh
# Other systems. A static program for aarch64 is built without a C compiler and put
# through claims under qemu; for the others it is seen that they compile.
#
#     sh tests/elsewhere.sh
set -eu
cd "$(dirname "$0")/.."
arm=aarch64-unknown-linux-musl
export CARGO_TARGET_DIR=target/elsewhere
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=false # sooner built

for target in x86_64-unknown-freebsd aarch64-apple-darwin; do
    if rustup target add $target >/dev/null 2>&1; then
        cargo check --locked --no-default-features --target $target
    else
        echo "SKIPPED: no standard library for $target"
    fi
done

if ! rustup target add $arm >/dev/null 2>&1 || ! command -v qemu-aarch64-static >/dev/null; then
    echo "SKIPPED: no standard library for $arm, or no qemu-aarch64-static"
    exit
fi
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
    cargo build --locked --no-default-features --target $arm
cat >$CARGO_TARGET_DIR/scat <<END
#!/bin/sh
exec qemu-aarch64-static $PWD/$CARGO_TARGET_DIR/$arm/debug/scat "\$@"
END
chmod +x $CARGO_TARGET_DIR/scat
unset CARGO_PROFILE_DEV_OPT_LEVEL CARGO_PROFILE_DEV_DEBUG
SCAT=$PWD/$CARGO_TARGET_DIR/scat CARGO_TARGET_DIR=target cargo test --locked --test claims -- \
    policy:: pipe::status::
