# Broken: C takes any opening.
s/if commit = commitment(h1, N_L) then//
