"""The OpenAI-shaped HTTP interface below `/v1`: what any OpenAI client can ask of the studio's models."""
