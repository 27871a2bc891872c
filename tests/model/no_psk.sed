# Broken: the PSK is left out of the chain.
s/(hkdf1(ck, psk), hash(h, hkdf2(ck, psk)), hkdf3(ck, psk))/(ck, h, ck)/
