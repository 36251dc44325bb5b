"""The process that fetches from the Hub: it has the network and a person's token, and parses no one's file."""
