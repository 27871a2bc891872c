# Not broken: MixHash of a sealed value as it is, without the short cut.
s/= digest(sealed)/= hash(h, sealed)/
s/short(digest(seal(/short(hash(h, seal(/
