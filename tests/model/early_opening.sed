# Broken: N_L is open before flight 3 has arrived.
s/out(c, (public(e_L), ekem1, sealed_s, payload2));/& out(c, N_L);/
