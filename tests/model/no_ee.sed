# The ratchet does without ee, as if X25519 were broken at once.
s/mix_key(ck3, dh(E_[CL], e_[CL]))/mix_key(ck3, empty)/
