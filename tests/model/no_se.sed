# Broken: se is left out of the key.
s/mix_key(ck6, dh(E_L, s_C))/(ck6, k6)/
s/mix_key(ck6, dh(S_C, e_L))/(ck6, k6)/
