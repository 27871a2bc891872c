# Broken: the prologue leaves out what C offers.
s/prologue(offer)/prologue(empty)/
