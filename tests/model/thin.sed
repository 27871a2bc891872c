# Words do not rest on es, se and ekem1: without them the controls are quick.
s/mix_key(ck5, dh(S_L, e_C))/(ck5, k5)/
s/mix_key(ck5, dh(E_C, s_L))/(ck5, k5)/
s/mix_key(ck6, dh(E_L, s_C))/(ck6, k6)/
s/mix_key(ck6, dh(S_C, e_L))/(ck6, k6)/
s/mix_key(ck4, decapsulate(seed_C, ciphertext))/(ck4, k4)/
s/mix_key(ck4, m_L)/(ck4, k4)/
