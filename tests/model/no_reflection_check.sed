# Broken: a received static key may be one's own.
s/if S_L <> public(s_C) then//
s/if S_C <> public(s_L) then//
