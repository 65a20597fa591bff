"""What a Redis and its settings must be like, as pure judgements: facts in, findings out. No I/O.

    finding.py      a Finding: how bad, what was found, what to do
    facts.py        what a server says of itself
    server.py       is it there, which version, which role, whose clock, whose database
    persistence.py  does a job survive a crash
    memory.py       does a job survive a full memory
    needs.py        which commands workers and producers send, on which keys
    permissions.py  what Redis said to each
    setup.py        accounts, limits, keys, the API's address

The facts are gathered by `producers/cli/probing.py` and `trial.py`.
"""
