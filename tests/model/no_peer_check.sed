# Broken: --peer is not looked at.
s/if expected(peer, S_[CL]) then//
