"""Training of the speaker embedder that ships with voice-auth: see README.md in this folder."""
