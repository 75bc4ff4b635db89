"""Transcripts: pipeline tests that are written as a conversation. The language and its patterns, without a server."""
