# Broken: L's choice is sent beside flight 2 and not in it.
s/in(c, (E_L: bitstring, ekem1/in(c, (chosen: bitstring, E_L: bitstring, ekem1/
s/let (chosen: bitstring, commit: bitstring) = open/let commit = open/
s/(chosen, commitment(h1, N_L))/commitment(h1, N_L)/
s/out(c, (public(e_L), ekem1/out(c, (chosen, public(e_L), ekem1/
