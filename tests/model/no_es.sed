# Broken: es is left out of the key.
s/mix_key(ck5, dh(S_L, e_C))/(ck5, k5)/
s/mix_key(ck5, dh(E_C, s_L))/(ck5, k5)/
