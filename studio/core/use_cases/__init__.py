"""What a person can ask for: one function each, decided first, written after."""
