# bash completion for scat(1); needs bash-completion.

_scat() {
    local cur prev words cword split args
    _init_completion -s -n @: || return
    # Options that take a file, and options that take another value. (`-lvi` is `-i`.)
    local files='-*([!-])i|--identity|--psk|--genkey|--pubkey|--genpsk'
    local values='-*([!-])[psqw]|--port|--source|--quit|--reconnect|--within|--idle|--fd|--status-fd|--confirm-fd'
    if [[ $prev == @($files) ]]; then
        _filedir
    elif [[ $prev == --peer ]]; then
        # Keys are pasted; after an @, complete the name of a file.
        if [[ $cur == @* ]]; then
            cur=${cur#@}
            _filedir
            # Where @ separates words, readline has kept it.
            [[ $COMP_WORDBREAKS == *@* ]] || COMPREPLY=("${COMPREPLY[@]/#/@}")
        elif [[ -z $cur ]]; then
            compopt -o nospace
            COMPREPLY=(@)
        fi
    elif [[ $prev == @($values) ]] || $split; then
        return
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '
            -4 --ipv4 -6 --ipv6 -c --confirm --confirm-fd -d --no-input --fd --genkey --genpsk
            -h --help -i --identity --idle -l --listen -N --end -n --numeric --no-confirm
            -p --port --peer --psk --pubkey -q --quiet --quit --reconnect -s --source --status-fd
            -v --verbose --version -w --within' -- "$cur"))
    elif [[ ! " ${words[*]} " =~ ' '(-[[:alnum:]]*l[[:alnum:]]*|--listen)' ' ]]; then
        # A host comes first, and only where scat does not listen.
        _count_args : "@($files|--peer|$values)"
        ((args == 1)) && _known_hosts_real -- "$cur"
    fi
} && complete -F _scat scat
