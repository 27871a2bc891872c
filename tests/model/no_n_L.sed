# Broken: R2 has no fresh n_L.
s/^  new n_L: bitstring;$/  let n_L = empty in/
