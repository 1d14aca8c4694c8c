"""The story behind promise 1: acked means committed, through kill -9 of everything there is."""
