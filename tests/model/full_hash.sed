# Not broken: the real MixHash of a sealed value, without the short cut.
s/= digest(sealed)/= hash(h, sealed)/
s/short(digest(seal(/short(hash(h, seal(/
