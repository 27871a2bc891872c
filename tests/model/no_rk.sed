# Broken: rk is left out of the exchange.
s/(rekey, hp)), rk)/(rekey, hp)), empty)/
