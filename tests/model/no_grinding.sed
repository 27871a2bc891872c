# The string is long: nobody finds an input for a value he wants.
/^equation forall sas/,/= sas\.$/d
