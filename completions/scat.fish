# fish completion for scat(1).

function __scat_listens
    __fish_contains_opt -s l listen
end

# Keys are pasted; after an @, complete the name of a file.
function __scat_peer
    printf '%s\n' @(complete -C "'' "(string replace -r '^@' '' -- (commandline -ct)))
end

complete -c scat -f
complete -c scat -n 'not __scat_listens' -a '(__fish_print_hostnames)'
complete -c scat -s l -l listen -d 'Listen for one peer instead of connecting'
complete -c scat -s p -l port -x -d 'Port to listen on, or to connect from'
complete -c scat -s s -l source -x -d 'Address to listen on, or to connect from'
complete -c scat -s 4 -l ipv4 -d 'IPv4 only'
complete -c scat -s 6 -l ipv6 -d 'IPv6 only'
complete -c scat -l fd -x -d 'Use the connection at this file descriptor'
complete -c scat -s n -l numeric -d 'The host is a numeric address: never ask DNS'
complete -c scat -l status-fd -x -d 'Report events to programs'
complete -c scat -l confirm-fd -x -d 'Let a program ask the user'
complete -c scat -s N -l end -d 'Ignored'
complete -c scat -s q -l quit -x -d 'Ignored'
complete -c scat -s d -l no-input -d 'Send nothing: standard input is not read'
complete -c scat -s c -l confirm -d 'Always ask for the words, even in a pipeline'
complete -c scat -l no-confirm -d 'Do not ask at a terminal'
complete -c scat -s i -l identity -r -F -d 'Identify yourself with the secret key in this file'
complete -c scat -l peer -x -a '(__scat_peer)' -d 'The other end must have this public key'
complete -c scat -l psk -r -F -d 'The other end must have the same pre-shared key file'
complete -c scat -l genkey -r -F -d 'Make a new key in this new file'
complete -c scat -l pubkey -r -F -d 'Print the public key of the key in this file'
complete -c scat -l genpsk -r -F -d 'Make a new pre-shared key in this new file'
complete -c scat -s v -l verbose -d 'Report each stage'
complete -c scat -l quiet -d 'Print nothing but errors'
complete -c scat -l reconnect -x -d 'If the connection is lost, wait this long for another one'
complete -c scat -s w -l within -x -d 'Give up unless there is a session within this time'
complete -c scat -l idle -x -d 'End a session without data for this long'
complete -c scat -l version -d 'Print the version'
complete -c scat -s h -l help -d 'Display usage information'
