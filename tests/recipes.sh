#!/bin/sh
# What people do with scat and other programs, each recipe once for real, on
# loopback: the jobs of the chat and file programs that scat replaces, and what
# the manual page shows. A recipe's name is its claim.
#
#     sh tests/recipes.sh                every recipe
#     sh tests/recipes.sh NAME...        only these
#
# Wants target/release/scat. A recipe whose tools are missing is skipped and
# says so; the last line counts. Exit status 0 if none failed.
set -u

# Recipes in the order in which they run: name, tools besides coreutils.
recipes='
two_people_chat_and_see_the_same_words
chat_in_tmux_ends_for_both_at_ctrl_d tmux
confirmed_words_let_the_chat_begin expect
refused_words_send_nothing_and_exit_4 expect
known_keys_at_both_ends_admit_each_other_and_nobody_else
group_key_admits_members_only
hub_relays_to_everyone_but_the_sender_with_names grep sed
every_line_said_and_heard_is_logged
file_arrives_whole_and_both_ends_exit_0
file_and_answer_cross_in_one_session
answer_made_after_the_end_of_input_arrives
directory_tree_arrives_with_modes_and_links tar
compressed_stream_arrives zstd
progress_shows_all_bytes pv
interrupted_file_is_resumed_from_its_size
full_disk_at_the_receiver_fails_the_sender
head_at_the_receiver_fails_the_sender
retry_until_up_stops_at_success
script_answers_line_by_line
forwarded_port_carries_a_conversation_and_its_end socat
ssh_runs_through_a_proxy_command ssh ssh-keygen /usr/sbin/sshd socat
log_lines_carry_the_time
escape_sequences_reach_no_terminal
'

tests=$(cd "$(dirname "$0")" && pwd) || exit 1
PATH=$(cd "$tests/.." && cd "${CARGO_TARGET_DIR:-target}/release" && pwd):$PATH || exit 1
export PATH

# What recipes are made of. Each one runs in a directory and a process of its
# own, which end with it: `runs` notes what to end. Everything here waits for
# what it needs and nothing sleeps for luck; the limit is that of `timeout`
# around the whole recipe.

fail() {
    echo "    $*" >&2
    tail -n 20 ./*.err >&2 2>/dev/null
    exit 1
}

running=''
# Notes the last background process.
runs() {
    running="$running $!"
}

end_all() {
    for pid in $running; do kill "$pid" 2>/dev/null; done
}

# Waits for process $1, which has to end with status $2.
ends() {
    wait "$1"
    set -- "$1" "$2" $?
    [ "$3" = "$2" ] || fail "exit status $3, not $2"
}

# Waits until command "$@" succeeds.
until_ok() {
    until "$@"; do sleep 0.02; done
}

# The port that the listener with standard error in file $1 announced.
port() {
    until_ok grep -q '^scat: listening on ' "$1" 2>/dev/null
    sed -n 's/^scat: listening on .* port //p' "$1"
}

same() {
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

has() {
    grep -q -e "$1" "$2" 2>/dev/null
}

# The three words that $1 ("you say" or "they say") is followed by in file $2.
words() {
    sed -n "s/^scat:   $1  *\([a-z A-Z]*[a-zA-Z]\) *(.*/\1/p" "$2"
}

# A megabyte that does not compress to nothing.
some_file() {
    head -c 1000000 /dev/urandom >"$1"
}

# Two people, without a server.

two_people_chat_and_see_the_same_words() {
    mkfifo ann.in bob.in
    scat -l 127.0.0.1 0 <ann.in >ann.out 2>ann.err & runs
    ann=$!
    exec 3>ann.in
    # Not with Ann's end of input in hand, or it would never come.
    scat 127.0.0.1 "$(port ann.err)" <bob.in >bob.out 2>bob.err 3>&- & runs
    bob=$!
    exec 4>bob.in
    echo 'hello Bob' >&3
    until_ok has 'hello Bob' bob.out
    echo 'hello Ann' >&4
    until_ok has 'hello Ann' ann.out
    exec 3>&- 4>&-
    ends $ann 0
    ends $bob 0
    [ -n "$(words 'you say' ann.err)" ] || fail 'no words'
    [ "$(words 'you say' ann.err)" = "$(words 'they say' bob.err)" ] || fail "Ann's words differ"
    [ "$(words 'they say' ann.err)" = "$(words 'you say' bob.err)" ] || fail "Bob's words differ"
}

chat_in_tmux_ends_for_both_at_ctrl_d() {
    t="tmux -S $PWD/tmux -f /dev/null"
    # Ann's upper half shows what she hears, the lower half is where she types.
    $t new-session -d -x 80 -y 24 "exec sh"
    server=$($t display-message -p '#{pid}')
    running="$running $server"
    shows() { $t capture-pane -p -t "$1" | grep -q -e "$2"; }
    # The three words behind "$2" on the screen of $1.
    said() { $t capture-pane -p -t "$1" | sed -n "s/^scat: $2  *\([a-zA-Z ]*[a-zA-Z]\) *(.*/\1/p"; }
    $t send-keys 'scat -l 127.0.0.1 0; echo $? >ann.end' Enter
    until_ok shows 0 'port [0-9]'
    p=$($t capture-pane -p -t 0 | sed -n 's/^scat: listening on .* port //p')
    $t split-window "exec sh"
    $t send-keys -t 1 "scat 127.0.0.1 $p; echo \$? >bob.end" Enter
    until_ok shows 0 'they answer:'
    until_ok shows 1 'they say:'
    $t send-keys -t 1 "$(said 0 'you say')" Enter
    until_ok shows 1 'you answer'
    $t send-keys -t 0 "$(said 1 'you answer')" Enter
    until_ok shows 0 verified
    $t send-keys -t 0 'hello Bob' Enter
    until_ok shows 1 '^hello Bob'
    $t send-keys -t 1 'hello Ann' Enter
    until_ok shows 0 '^hello Ann'
    $t send-keys -t 1 C-d
    until_ok test -e ann.end
    until_ok test -e bob.end
    has 0 ann.end && has 0 bob.end || fail 'not both ended well'
    $t kill-server
}

# The ceremony on two terminals. expect hears what Ann's screen says and types
# it at Bob's, as a voice would carry it. $1 is what Ann does with Bob's answer.
ceremony='
    set timeout 20
    proc hear {pattern} {
        expect {
            -re $pattern { return $expect_out(1,string) }
            timeout { puts stderr "not seen: $pattern"; exit 1 }
            eof { puts stderr "ended before: $pattern"; exit 1 }
        }
    }
    proc status {} { return [lindex [wait] 3] }
    spawn sh -c {exec scat -c -l 127.0.0.1 0 >ann.out}
    set ann $spawn_id
    set port [hear {port ([0-9]+)\r}]
    spawn sh -c "exec scat -c 127.0.0.1 $port >bob.out"
    set bob $spawn_id
    set spawn_id $ann
    set said [hear {you say +([A-Za-z]+ [A-Za-z]+ [A-Za-z]+) }]
    hear {(they answer: )}
    set spawn_id $bob
    hear {(they say: )}
'

confirmed_words_let_the_chat_begin() {
    expect -c "$ceremony"'
        send "$said\r"
        set answer [hear {you answer +([A-Za-z]+ [A-Za-z]+ [A-Za-z]+) }]
        hear {(verified)}
        send "too early?\r"
        set spawn_id $ann
        if {[file size ann.out] != 0} { puts stderr "bytes before the words"; exit 1 }
        send "$answer\r"
        hear {(verified)}
        send "hello Bob\r"
        send "\004"
        expect eof
        set first [status]
        set spawn_id $bob
        expect eof
        exit [expr {$first + [status]}]
    ' >ceremony.err || fail 'the ceremony did not end well'
    has 'too early?' ann.out || fail 'what Bob typed did not arrive'
    has 'hello Bob' bob.out || fail 'what Ann typed did not arrive'
}

refused_words_send_nothing_and_exit_4() {
    expect -c "$ceremony"'
        send "no\r"
        expect eof
        if {[status] != 4} { exit 1 }
        set spawn_id $ann
        expect eof
        if {[status] != 4} { exit 1 }
    ' >ceremony.err || fail 'the refusal did not end both with 4'
    [ ! -s ann.out ] && [ ! -s bob.out ] || fail 'bytes without the words'
}

# Keys instead of words.

known_keys_at_both_ends_admit_each_other_and_nobody_else() {
    ann=$(scat --genkey ann.key)
    bob=$(scat --genkey bob.key)
    scat --genkey eve.key >eve.pub
    echo 'from Bob' >letter
    scat -l -i ann.key --peer "$bob" 127.0.0.1 0 </dev/null >got 2>ann.err & runs
    listener=$!
    p=$(port ann.err)
    # A stranger is refused, and the listener goes on.
    scat -i eve.key --peer "$ann" 127.0.0.1 "$p" <letter >eve.out 2>eve.err
    [ $? = 4 ] || fail 'Eve was not refused with 4'
    # Somebody who expects another listener leaves.
    scat -i bob.key --peer "$(cat eve.pub)" 127.0.0.1 "$p" <letter 2>wrong.err
    [ $? = 4 ] || fail 'the wrong listener was not refused with 4'
    scat -i bob.key --peer "$ann" 127.0.0.1 "$p" <letter 2>bob.err || fail 'Bob was refused'
    ends $listener 0
    same letter got
    has 'verified by key' ann.err || fail 'Ann was not told'
    has 'verified by key' bob.err || fail 'Bob was not told'
}

group_key_admits_members_only() {
    scat --genpsk group.key
    scat --genpsk other.key
    scat -l --psk group.key 127.0.0.1 0 </dev/null >got 2>listener.err & runs
    listener=$!
    p=$(port listener.err)
    echo no | scat 127.0.0.1 "$p" 2>none.err
    [ $? = 4 ] || fail 'somebody without the key was not refused with 4'
    echo no | scat --psk other.key 127.0.0.1 "$p" 2>other.err
    [ $? = 4 ] || fail 'somebody with another key was not refused with 4'
    echo yes | scat --psk group.key 127.0.0.1 "$p" 2>member.err || fail 'a member was refused'
    ends $listener 0
    [ "$(cat got)" = yes ] || fail 'the wrong bytes arrived'
}

# Several people: one listener for each, around one file. The hub reads all.

hub_relays_to_everyone_but_the_sender_with_names() {
    : >room
    for who in ann bob eve; do
        mkfifo $who.room $who.in $who.tail
        # What the others say in the room goes to this seat, until it is left.
        tail -n +1 -f room >$who.tail & runs
        tail=$!
        grep --line-buffered -v "^$who: " <$who.tail >$who.room & runs
        # What is said at this seat goes into the room, with the name in front.
        {
            scat -l 127.0.0.1 0 <$who.room 2>$who.seat.err | sed -u "s/^/$who: /" >>room
        } & runs
        eval "$who=\$!"
        scat 127.0.0.1 "$(port $who.seat.err)" <$who.in >$who.out 2>$who.err & runs
        eval "${who}_tail=$tail ${who}_person=\$!"
    done
    exec 3>ann.in 4>bob.in 5>eve.in
    echo 'hello all' >&3
    until_ok has '^ann: hello all$' bob.out
    until_ok has '^ann: hello all$' eve.out
    echo 'hello Ann' >&4
    until_ok has '^bob: hello Ann$' ann.out
    until_ok has '^bob: hello Ann$' eve.out
    # Bob leaves; when his seat hears it, it is cleared, and the others go on.
    exec 4>&-
    kill "$bob_tail"
    ends "$bob_person" 0
    ends "$bob" 0
    echo 'Bob is gone' >&5
    until_ok has '^eve: Bob is gone$' ann.out
    exec 3>&- 5>&-
    kill "$ann_tail" "$eve_tail"
    ends "$ann_person" 0
    ends "$eve_person" 0
    [ "$(cat ann.out)" = "bob: hello Ann
eve: Bob is gone" ] || fail "Ann heard something else: $(cat ann.out)"
    [ "$(cat bob.out)" = 'ann: hello all' ] || fail "Bob heard something else: $(cat bob.out)"
}

every_line_said_and_heard_is_logged() {
    echo 'what Ann says' | tee ann.said | scat -l 127.0.0.1 0 2>ann.err | tee ann.heard >/dev/null & runs
    ann=$!
    echo 'what Bob says' | tee bob.said | scat 127.0.0.1 "$(port ann.err)" 2>bob.err |
        tee bob.heard >/dev/null
    ends $ann 0
    same ann.said bob.heard
    same bob.said ann.heard
}

# Files.

file_arrives_whole_and_both_ends_exit_0() {
    some_file file
    scat -l 127.0.0.1 0 </dev/null >copy 2>listener.err & runs
    listener=$!
    scat 127.0.0.1 "$(port listener.err)" <file >/dev/null 2>connector.err || fail 'the sender failed'
    ends $listener 0
    same file copy
}

file_and_answer_cross_in_one_session() {
    some_file a
    some_file b
    scat -l 127.0.0.1 0 <a >b.copy 2>listener.err & runs
    listener=$!
    scat 127.0.0.1 "$(port listener.err)" <b >a.copy 2>connector.err || fail 'the connector failed'
    ends $listener 0
    same a a.copy
    same b b.copy
}

answer_made_after_the_end_of_input_arrives() {
    some_file file
    mkfifo answer
    # sha256sum says nothing before its input has ended.
    scat -l 127.0.0.1 0 <answer 2>listener.err | sha256sum >answer & runs
    listener=$!
    scat 127.0.0.1 "$(port listener.err)" <file >sum 2>connector.err || fail 'the sender failed'
    ends $listener 0
    sha256sum <file >expected
    same expected sum
}

directory_tree_arrives_with_modes_and_links() {
    mkdir -p tree/empty tree/sub copy
    some_file tree/sub/file
    echo '#!/bin/sh' >tree/run
    chmod 750 tree/run
    ln -s sub/file tree/link
    scat -l 127.0.0.1 0 </dev/null 2>listener.err | tar xpf - -C copy & runs
    listener=$!
    tar cf - tree | scat 127.0.0.1 "$(port listener.err)" 2>connector.err || fail 'the sender failed'
    ends $listener 0
    same tree/sub/file copy/tree/sub/file
    [ -d copy/tree/empty ] || fail 'the empty directory is missing'
    [ "$(readlink copy/tree/link)" = sub/file ] || fail 'the link is not one'
    [ "$(stat -c %a copy/tree/run)" = 750 ] || fail 'the mode differs'
}

compressed_stream_arrives() {
    yes 'the same line over and over' | head -n 100000 >file
    scat -l 127.0.0.1 0 </dev/null 2>listener.err | zstd -dqc >copy & runs
    listener=$!
    zstd -qc file | scat -v 127.0.0.1 "$(port listener.err)" 2>connector.err || fail 'the sender failed'
    ends $listener 0
    same file copy
}

progress_shows_all_bytes() {
    some_file file
    scat -l 127.0.0.1 0 </dev/null >copy 2>listener.err & runs
    listener=$!
    pv -f -b -n file 2>pv.err | scat 127.0.0.1 "$(port listener.err)" 2>connector.err ||
        fail 'the sender failed'
    ends $listener 0
    same file copy
    has '^1000000$' pv.err || fail 'pv did not count all bytes'
}

interrupted_file_is_resumed_from_its_size() {
    some_file file
    head -c 300000 file >copy
    # The receiver says how much it has; the sender sends the rest.
    wc -c <copy | scat -l 127.0.0.1 0 2>listener.err >>copy & runs
    listener=$!
    p=$(port listener.err)
    mkfifo size
    { read -r have && tail -c +$((have + 1)) file; } <size |
        scat -v 127.0.0.1 "$p" >size 2>connector.err || fail 'the sender failed'
    ends $listener 0
    same file copy
    has 'sent 700000 bytes' connector.err || fail 'not the rest was sent'
}

full_disk_at_the_receiver_fails_the_sender() {
    some_file file
    scat -l 127.0.0.1 0 </dev/null >/dev/full 2>listener.err & runs
    listener=$!
    scat 127.0.0.1 "$(port listener.err)" <file 2>connector.err
    [ $? = 7 ] || fail 'the sender did not end with 7'
    ends $listener 1
}

head_at_the_receiver_fails_the_sender() {
    some_file file
    { scat -l 127.0.0.1 0 </dev/null 2>listener.err; echo $? >status; } | head -c 10 >start & runs
    listener=$!
    scat 127.0.0.1 "$(port listener.err)" <file 2>connector.err
    [ $? = 7 ] || fail 'the sender did not end with 7'
    ends $listener 0
    [ "$(cat status)" = 7 ] || fail 'the receiver did not end with 7'
}

# Scripts.

retry_until_up_stops_at_success() {
    # A port that was free a moment ago, and where nobody listens now.
    scat -l 127.0.0.1 0 </dev/null 2>first.err & runs
    first=$!
    p=$(port first.err)
    kill "$first"
    wait "$first"
    echo payload >file
    {
        # Status 3 and no other says that nothing was sent.
        until scat 127.0.0.1 "$p" <file; do
            [ $? = 3 ] || exit 1
            sleep 0.1
        done 2>connector.err
    } & runs
    connector=$!
    until_ok has 'connection refused' connector.err
    scat -l 127.0.0.1 "$p" </dev/null >copy 2>listener.err || fail 'the listener failed'
    ends $connector 0
    same file copy
}

script_answers_line_by_line() {
    mkfifo answers
    scat -l 127.0.0.1 0 <answers 2>listener.err | while read -r a b; do
        echo $((a + b))
    done >answers & runs
    listener=$!
    printf '%s\n' '1 2' '20 22' | scat 127.0.0.1 "$(port listener.err)" >sums 2>connector.err ||
        fail 'the connector failed'
    ends $listener 0
    printf '%s\n' 3 42 >expected
    same expected sums
}

# The number of the port that socat took, from its log $1.
socat_port() {
    until_ok grep -q 'listening on ' "$1" 2>/dev/null
    sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$1" | head -n 1
}

forwarded_port_carries_a_conversation_and_its_end() {
    # The service: says each line again, and goodbye when the caller has ended.
    cat >service <<-'END'
	while read -r line; do echo "again: $line"; done
	echo bye
	END
    # After one direction's end socat waits 0.5 s for the other, unless told
    # otherwise. After both it would end scat by a signal, before the far end
    # has confirmed: `end-close` leaves scat alone, `shut-down` passes the end on.
    last=end-close,shut-down
    socat -t 20 -d -d TCP-LISTEN:0,bind=127.0.0.1 EXEC:'sh service' 2>service.log & runs
    service=$(socat_port service.log)
    socat -t 20 EXEC:'scat -l 127.0.0.1 0',$last TCP:127.0.0.1:"$service" 2>far.err & runs
    far=$!
    socat -t 20 -d -d TCP-LISTEN:0,bind=127.0.0.1 EXEC:"scat 127.0.0.1 $(port far.err)",$last \
        2>near.log & runs
    near=$!
    printf 'one\ntwo\n' | socat -t 20 - TCP:127.0.0.1:"$(socat_port near.log)" >heard
    ends $near 0
    ends $far 0
    printf 'again: %s\n' one two >expected
    echo bye >>expected
    same expected heard
}

ssh_runs_through_a_proxy_command() {
    ssh-keygen -q -t ed25519 -N '' -f host
    ssh-keygen -q -t ed25519 -N '' -f user
    printf '127.0.0.1 %s\n' "$(cut -d ' ' -f 1,2 host.pub)" >known
    cp user.pub authorized
    cat >sshd.conf <<-END
	HostKey $PWD/host
	AuthorizedKeysFile $PWD/authorized
	StrictModes no
	UsePAM no
	PidFile none
	END
    # As sshd would refuse to start without it.
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    socat EXEC:'scat -l 127.0.0.1 0' EXEC:"/usr/sbin/sshd -i -e -f $PWD/sshd.conf" 2>far.err & runs
    far=$!
    ssh -F none -i user -o IdentitiesOnly=yes -o UserKnownHostsFile="$PWD/known" -o BatchMode=yes \
        -o ProxyCommand="scat 127.0.0.1 $(port far.err) 2>near.err" 127.0.0.1 echo through \
        >heard 2>ssh.err </dev/null || fail 'ssh failed'
    [ "$(cat heard)" = through ] || fail 'ssh brought something else'
    # ssh ends its ProxyCommand by a signal, so the far end counts as cut off.
    wait $far || :
}

# What is written where.

log_lines_carry_the_time() {
    scat -l 127.0.0.1 0 </dev/null 2>listener.err | while IFS= read -r line; do
        printf '%s %s\n' "$(date +%H:%M:%S)" "$line"
    done >log & runs
    listener=$!
    printf 'one\ntwo\n' | scat 127.0.0.1 "$(port listener.err)" 2>connector.err ||
        fail 'the sender failed'
    ends $listener 0
    [ "$(grep -c '^[0-9][0-9]:[0-9][0-9]:[0-9][0-9] \(one\|two\)$' log)" = 2 ] || fail 'other lines'
}

escape_sequences_reach_no_terminal() {
    scat -l 127.0.0.1 0 </dev/null 2>listener.err | cat -v >shown & runs
    listener=$!
    printf '\033[2Jgone\n' | scat 127.0.0.1 "$(port listener.err)" 2>connector.err ||
        fail 'the sender failed'
    ends $listener 0
    [ "$(cat shown)" = '^[[2Jgone' ] || fail 'the escape came through'
}

# One recipe, in the process that `timeout` started for it.
if [ "${1-}" = --run ]; then
    trap end_all EXIT
    trap 'exit 1' HUP INT TERM
    "$2"
    exit
fi

# The tools among "$@" that are not there.
missing() {
    for tool; do
        command -v "$tool" >/dev/null || printf ' %s' "$tool"
    done
}

top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 skipped=0

command -v scat >/dev/null || { echo 'recipes: no scat: cargo build --release' >&2; exit 1; }
echo "recipes with $(scat --version)"
while read -r name tools; do
    [ -n "$name" ] || continue
    [ $# = 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    # shellcheck disable=SC2086
    without=$(missing $tools)
    if [ -n "$without" ]; then
        echo "skip: $name: not here:$without"
        skipped=$((skipped + 1))
        continue
    fi
    mkdir "$top/$name" && cd "$top/$name" || exit 1
    if timeout 30 sh "$tests/recipes.sh" --run "$name" </dev/null >/dev/null; then
        echo "ok:   $name"
        passed=$((passed + 1))
    else
        echo "FAIL: $name (status $?)"
        failed=$((failed + 1))
    fi
    cd "$top" || exit 1
done <<END
$recipes
END
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
