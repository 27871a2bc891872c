# X25519 is broken at once: no DH result takes part in the key. To an attacker who
# computes every X25519 secret it is the same, and ProVerif is quicker.
s/mix_key(ck3, dh(E_[CL], e_[CL]))/mix_key(ck3, empty)/
s/mix_key(ck5, dh(S_L, e_C))/mix_key(ck5, empty)/
s/mix_key(ck5, dh(E_C, s_L))/mix_key(ck5, empty)/
s/mix_key(ck6, dh(E_L, s_C))/mix_key(ck6, empty)/
s/mix_key(ck6, dh(S_C, e_L))/mix_key(ck6, empty)/
