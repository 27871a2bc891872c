# Broken: the new keys come from the old ones only, without ee and ekem1.
s/mix_key(ck3, dh(E_[CL], e_[CL]))/mix_key(ck3, empty)/
s/mix_key(ck4, decapsulate(seed_C, ciphertext))/mix_key(ck4, empty)/
s/mix_key(ck4, m_L)/mix_key(ck4, empty)/
