# The string is long: nobody can find an input for a wanted value.
/^equation forall sas/,/= sas\.$/d
