"""What is worth a look in the examples: repeats, secrets, odd answers, and how each is mended."""
