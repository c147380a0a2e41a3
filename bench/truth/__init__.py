"""What every kernel is held against: the proved value or witnesses that differ in kind; and how far off it may be."""
