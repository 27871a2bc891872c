#!/bin/sh
# Shows scat's main job on one screen: two ends on loopback send each other a file, show
# the same words, and make two copies that equal their originals. Exits with 1 if anything
# fails. Run it from anywhere after `cargo build --release`; it needs only sh and
# coreutils.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=${CARGO_TARGET_DIR:-target}/release:$PATH
work=$(mktemp -d) || exit 1
listener='' connector=''

cleanup() {
    # Both have already ended unless something went wrong.
    for pid in $listener $connector; do kill "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "demo: FAILED: $*"
    exit 1
}

# The words behind "you say" or "they say" ($1) in what an end printed ($2).
words() {
    while read -r _ who says words; do
        [ "$who $says" = "$1" ] && echo "$words"
    done <"$2"
}

# Explains how an end ($1) with this exit status ($2) ended.
verdict() {
    case $2 in
    0) echo "    exit status 0: all was sent and received, and both ends know it" ;;
    *)
        cat "$work/listener.err" "$work/connector.err" 2>/dev/null
        fail "the $1 ended with status $2"
        ;;
    esac
}

command -v scat >/dev/null || fail "no scat in $PATH: cargo build --release"

# The listener picks a free port and prints it on standard error; a FIFO makes the shell
# wait for that line. Each end gives up after 30 s.
mkfifo "$work/said" || exit 1
timeout 30 scat -w 20 -l 127.0.0.1 0 <Cargo.toml >"$work/Cargo.lock" 2>"$work/said" &
listener=$!
exec 3<"$work/said"
read -r announced <&3 || fail "the listener said nothing"
echo "$announced" >"$work/listener.err"
port=${announced##* }

timeout 30 scat -w 20 127.0.0.1 "$port" <Cargo.lock >"$work/Cargo.toml" 2>"$work/connector.err" &
connector=$!

wait "$listener"
listened=$?
listener=''
wait "$connector"
connected=$?
connector=''
cat <&3 >>"$work/listener.err"

echo "One end listens. It sends Cargo.toml, and writes what it receives to a copy of Cargo.lock:"
echo "    \$ scat -l 127.0.0.1 0 <Cargo.toml >copy/Cargo.lock"
while IFS= read -r line; do echo "    $line"; done <"$work/listener.err"
verdict listener $listened
echo "The other connects. It sends Cargo.lock, and writes what it receives to a copy of Cargo.toml:"
echo "    \$ scat 127.0.0.1 $port <Cargo.lock >copy/Cargo.toml"
while IFS= read -r line; do echo "    $line"; done <"$work/connector.err"
verdict connector $connected

for pair in 'you say,they say' 'they say,you say'; do
    here=$(words "${pair%,*}" "$work/listener.err")
    there=$(words "${pair#*,}" "$work/connector.err")
    [ -n "$here" ] && [ "$here" = "$there" ] || fail "the words differ: '$here' and '$there'"
done
echo "Both ends show the same six words, so there is no man in the middle."

for file in Cargo.toml Cargo.lock; do
    cmp "$file" "$work/$file" || fail "the copy of $file differs"
    echo "The copy of $file equals the original: $(wc -c <"$file") bytes."
done
