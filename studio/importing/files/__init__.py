"""A file of any kind -> its rows, one at a time in bounded memory."""
