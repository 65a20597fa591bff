"""Acceptance: a real Valkey, the sandbox's API and real worker processes, all on loopback; nothing is faked.

A test's name is the sentence it proves. Times are not judged here, only what came of it: bench/ measures.
"""
