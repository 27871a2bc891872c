# Broken: the PSK is left out of the chain.
s/(hkdf1(ck, PSK), hash(h, hkdf2(ck, PSK)), hkdf3(ck, PSK))/(ck, h, ck)/
