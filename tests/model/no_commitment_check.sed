# Broken: C takes any opening.
s/if commit = commitment(h1, N_L) then//
# The attack needs grind_L only.
/^equation.*k: bitstring/,/= sas\.$/d
