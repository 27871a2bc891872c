#!/bin/sh
# Every command that README.md and scat(1) print, run as it is printed.
#
#     sh tests/snippets.sh
#
# Wants target/release/scat. It runs in a network namespace of its own, where port
# 9000 is free and the names in the snippets (host.example.com and others) stand
# for 127.0.0.1 in /etc/hosts; nothing else is put in the place of anything. Each
# printed command is run by a claim below or named by `left_out` with the reason,
# or this fails: a snippet that nobody runs goes stale. Exit status 0 if none failed.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
if [ "${1-}" != --inside ]; then
    top=$(mktemp -d) || exit 1
    trap 'rm -rf "$top"' EXIT
    trap 'exit 1' HUP INT TERM
    names='host.example.com ann.example.com backup.example.com'
    printf '127.0.0.1 localhost %s\n::1 localhost\n' "$names" >"$top/hosts"
    inside='ip link set lo up && mount --bind "$1/hosts" /etc/hosts && exec sh "$2" --inside "$1"'
    if ! unshare -rnm sh -c 'ip link set lo up && mount --bind "$1" /etc/hosts' - "$top/hosts"; then
        echo 'SKIPPED: no network namespace of our own (unshare, ip)'
        exit 0
    fi
    timeout 300 unshare -rnm sh -c "$inside" - "$top" "$root/tests/snippets.sh" </dev/null
    exit
fi

top=$2
PATH=$(cd "$root/${CARGO_TARGET_DIR:-target}/release" && pwd):$PATH || exit 1
export PATH
command -v scat >/dev/null || { echo 'snippets: no scat: cargo build --release' >&2; exit 1; }

# The commands as they are printed, one file each, the prompt taken off. A line
# without a prompt goes on with the command before it, as long as that is not whole.
mkdir "$top/commands"
literal() {
    awk '/^\.Bd -literal/ { inside = 1; print ""; next }
         /^\.Ed/ { inside = 0 }
         inside { print }
         sub(/^\.Dl /, "\n") { print }' "$root/man/scat.1" | sed 's/\\e/\\/g'
    awk '/^```/ { inside = !inside; print ""; next } inside { print }' "$root/README.md"
}
count=0 pending=''
newline='
'
literal | sed 's/ *# exit status.*//' >"$top/literal"
while IFS= read -r line; do
    case $line in
    [a-z]*'$ '* | '$ '* | sender'# '* | receiver'# '*) pending=${line#*[\$#] } ;;
    'until '* | 'while '* | 'cargo '*) pending=$line ;;
    *) [ -n "$pending" ] || continue; pending=$pending$newline$line ;;
    esac
    [ "${pending%\\}" = "$pending" ] || continue
    sh -n -c "$pending" 2>/dev/null || [ "${pending#*<(}" != "$pending" ] || continue
    count=$((count + 1))
    printf '%s\n' "$pending" | sed 's/^ *//' >"$top/commands/$count"
    pending=''
done <"$top/literal"

failed=0
complain() {
    echo "FAIL: $*"
    failed=1
}

# The printed command whose first line is $1, exactly; it then counts as run.
printed() {
    for file in "$top"/commands/*; do
        if [ "$(head -n 1 "$file")" = "$1" ]; then
            [ -e "$file.run" ] || : >"$file.run"
            text=$(cat "$file")
        fi
    done
    printf '%s\n' "${text-exit 99 # not printed: $1}"
}

# Runs the printed command $2 as person $1, in a directory of that name.
as() {
    mkdir -p "$1"
    (cd "$1" && exec timeout 60 sh -c "$(printed "$2")" 2>err)
}

# Waits until command "$@" succeeds, for 20 s at most.
until_ok() {
    tries=0
    until "$@" 2>/dev/null; do
        [ $((tries += 1)) -le 1000 ] || return
        sleep 0.02
    done
}

# Waits until person $1 listens.
listens() {
    until_ok grep -q '^scat: listening on ' "$1/err"
}

some_file() {
    mkdir -p "${1%/*}"
    head -c 1000000 /dev/urandom >"$1"
}

# Claims, each in a directory of its own.

a_file_arrives() {
    some_file bob/file
    as ann "$1" & ann=$!
    listens ann
    as bob "$2" && wait $ann && cmp "$3" bob/file
}

an_answer_arrives() {
    some_file bob/file
    as ann 'mkfifo -m 600 answer' && : >ann/err
    as ann 'scat -l 9000 < answer | { rm answer; sha256sum; } > answer' & ann=$!
    listens ann
    as bob 'scat host.example.com 9000 < file' >bob/sum && wait $ann &&
        [ "$(cut -d ' ' -f 1 bob/sum)" = "$(sha256sum <bob/file | cut -d ' ' -f 1)" ]
}

# Keys for Ann, who listens, and Bob, made by the printed commands.
keys() {
    as ann 'scat --genkey ann.key' >ann.pub && as bob 'scat --genkey bob.key' >bob.pub &&
        cp bob.pub ann/ && cp ann.pub bob/
}

keys_admit_each_other() {
    mkdir ann bob && keys
    echo letter >bob/letter
    as ann 'scat -l -i ann.key --peer @bob.pub 9000' >got & ann=$!
    listens ann
    as bob 'scat -i bob.key --peer @ann.pub ann.example.com 9000' <bob/letter && wait $ann &&
        cmp got bob/letter && grep -q 'verified by key' ann/err
}

a_retry_gets_through() {
    mkdir ann bob && keys
    cp bob/bob.key bob/my.key && cp ann.pub bob/backup.pub
    some_file bob/file
    as bob 'until scat --peer @backup.pub -i my.key backup.example.com 9000 < file; do' & bob=$!
    until_ok grep -q refused bob/err
    scat -l -i ann/ann.key --peer @bob.pub 9000 </dev/null >got 2>ann/err && wait $bob &&
        cmp got bob/file
}

listens_again() {
    [ "$(grep -c 'listening on' ann/err)" -ge "$1" ]
}

a_server_keeps_every_file() {
    mkdir ann bob && keys
    cp ann/ann.key ann/my.key && cp bob.pub ann/peers
    cp bob/bob.key bob/my.key && cp ann.pub bob/server.pub
    as ann 'while part=$(mktemp part.XXXXXX); do' & server=$!
    listens ann
    # As fast as they can be sent: several in one second. The fifth program dies.
    mkdir "$top/dump" && PATH=$top/dump:$PATH
    for i in 1 2 3 4 5 6 7 8 9 10; do
        # After the last one the loop ends: that is what it does with status 1.
        [ $i != 10 ] || { until_ok listens_again 10 && rm ann/peers; }
        end=
        [ $i != 5 ] || end='kill -KILL $$'
        printf '#!/bin/sh\necho %s\n%s\n' "$i" "$end" >"$top/dump/dump"
        chmod +x "$top/dump/dump"
        until as bob '{ dump && echo complete; } | scat -i my.key --peer @server.pub \'; do
            [ $? = 3 ] || return
        done
    done
    wait $server
    [ $? = 1 ] && [ "$(cat ann/part.*)" = 5 ] &&
        [ "$(cat ann/file.* | grep -vx complete | sort -n | tr '\n' ' ')" = '1 2 3 4 6 7 8 9 10 ' ]
}

buffers_take_the_numbers() {
    as root "sysctl -w net.ipv4.tcp_wmem='4096 16384 25000000'" >/dev/null &&
        as root "sysctl -w net.ipv4.tcp_rmem='4096 131072 25000000'" >/dev/null
}

# Two people at terminals: expect hears what Ann's screen says and types it at
# Bob's, as a voice would carry it, and the other way round; with "types", Bob then
# types a line. What they run is in ann.sh and bob.sh.
at_terminals() {
    # shellcheck disable=SC2016
    types=$1 expect -c '
        set timeout 20
        proc hear {pattern} {
            expect {
                -re $pattern { return $expect_out(1,string) }
                timeout { puts stderr "not seen: $pattern"; exit 1 }
                eof { puts stderr "ended before: $pattern"; exit 1 }
            }
        }
        set words {([A-Za-z]+ [A-Za-z]+ [A-Za-z]+) }
        spawn sh -c {cd ann && . ../ann.sh}
        set ann $spawn_id
        hear {(listening on)}
        spawn sh -c {cd bob && . ../bob.sh}
        set bob $spawn_id
        set spawn_id $ann
        set said [hear "you say +$words"]
        hear {(they answer: )}
        set spawn_id $bob
        hear {(they say: )}
        send "$said\r"
        set answer [hear "you answer +$words"]
        hear {(verified)}
        set spawn_id $ann
        send "$answer\r"
        hear {(verified)}
        set spawn_id $bob
        if {$env(types) eq "types"} { send "hello Ann\r\004" }
        expect eof
        set spawn_id $ann
        if {$env(types) eq "types"} { hear {(hello Ann)} }
        expect eof
        exit [lindex [wait] 3]
    ' >screens 2>&1 || { tail -n 20 screens | cat -v | cut -c 1-80; return 1; }
}

people_talk() {
    mkdir -p ann bob/dir && echo letter >bob/dir/file
    printed "$1" >ann.sh
    printed "$2" >bob.sh
    at_terminals "$3"
}

a_tree_arrives() {
    mkdir ann && some_file bob/dir/sub/file
    printed "$1" >ann.sh
    printed "$2" >bob.sh
    at_terminals sends && diff -r ann/new/dir bob/dir
}

progress_is_shown() {
    mkdir bob && some_file ann/file
    echo 'scat -c -l 9000 <file' >ann.sh
    printed "$1" >bob.sh
    at_terminals sends && cmp ann/file bob/disk.img && grep -q '976KiB' screens
}

claim() {
    name=$1 tools=$2
    shift 2
    for tool in $tools; do
        if ! command -v "$tool" >/dev/null; then
            echo "SKIPPED: $name: no $tool"
            # Only the tool is missing: the commands are known.
            for text; do case $text in *[\ ]*) printed "$text" >/dev/null ;; esac; done
            return
        fi
    done
    mkdir "$top/$name" && cd "$top/$name" || exit 1
    if "${claim-$name}" "$@"; then
        echo "ok:   $name"
    else
        complain "$name: $(tail -n 3 ./*/err err 2>/dev/null)"
    fi
    # Nothing stays on the port.
    jobs -p >running
    while read -r pid; do kill "$pid" 2>/dev/null; done <running
    wait
}

left_out() {
    printed "$1" >/dev/null
    echo "NOT RUN: $1: $2"
}

claim a_file_arrives '' 'scat -l 9000 > file' 'scat host.example.com 9000 < file' ann/file
claim=a_file_arrives
claim as_the_readme_sends_it '' 'scat -l 9000 > copy' 'scat ann.example.com 9000 < file' ann/copy
unset claim
claim a_tree_arrives 'expect tar' \
    'mkdir new && scat -lc 9000 < /dev/null | tar xf - -C new' \
    'tar cf - dir | scat -c host.example.com 9000'
claim=a_tree_arrives
claim as_the_readme_sends_a_tree 'expect tar' \
    'mkdir new && scat -lc 9000 < /dev/null | tar xf - -C new' \
    'tar cf - dir | scat -c ann.example.com 9000'
unset claim
claim an_answer_arrives ''
claim keys_admit_each_other ''
claim a_retry_gets_through ''
claim a_server_keeps_every_file ''
claim buffers_take_the_numbers sysctl
claim progress_is_shown 'expect pv' 'scat -c host.example.com 9000 < /dev/null | pv -W > disk.img'
claim=people_talk
claim two_people_talk expect 'scat -l 9000' 'scat host.example.com 9000' types
claim what_is_heard_is_kept expect 'scat -l 9000' \
    'scat -c host.example.com 9000 | cat -v | tee -a heard' types
unset claim

left_out 'cargo build --release --locked && sh tests/demo.sh' '.ci/run runs it'
left_out 'cargo test --locked' '.ci/run runs it'
left_out 'cargo build --release --locked && python3 debian/licences.py > target/licences.txt' 'tests/package.sh runs its kind'
left_out 'cargo deb --no-build' 'tests/package.sh runs its kind'
left_out 'scat -i <(age -d bob.key.age) --peer @ann.pub ann.example.com 9000' \
    'age asks for a passphrase'

elsewhere='tests/claims/net/inherited.rs and tests/recipes run its kind'
left_out 'socat PROXY:proxy:host.example.com:9000 \' "$elsewhere"
left_out 'socat TCP-LISTEN:9000 TCP-LISTEN:9001' "$elsewhere"
left_out 'exec 3<>/dev/tcp/relay.example.com/9000     # in bash' "$elsewhere"
left_out 'scat -l -c --fd 3 > file' "$elsewhere"
left_out 'exec 3<>/dev/tcp/relay.example.com/9001' "$elsewhere"
left_out 'scat --fd 3 < file' "$elsewhere"
left_out 'scat --status-fd 3 host.example.com 9000 < file 3> status' 'tests/claims/status.rs runs its kind'
left_out 'tail -n 1 status' 'tests/claims/status.rs runs its kind'

for file in "$top"/commands/*[0-9]; do
    [ -e "$file.run" ] || complain "printed and not run: $(cat "$file")"
done
echo "$count commands are printed"
[ "$failed" = 0 ] && [ "$count" -ge 20 ]
