# Broken: the tag of R2 does not cover R1.
s/label_R2, (R1, n_L, at_L)/label_R2, (n_L, at_L)/
