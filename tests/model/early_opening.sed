# Broken: N_L is open before flight 3 has arrived.
s/out(c, (public(e_L), ekem1, sealed_s, payload2));/& out(c, N_L);/
# The attack needs grind_C only.
/^equation.*sas: bitstring, h3/,/= sas\.$/d
