"""Chaos: real processes, a seeded schedule of faults, and a balance at the end that must hold.

    schedule   seed -> which fault when        (pure)
    faults     what each of them does, and undoes
    ground     the installation that is hurt, and everything that was handed in
    storm      carries a schedule out
    balance    enqueued = opened + found + failed + cancelled, one room per incident, nothing left over   (pure)
    producer   a process that hands jobs in, to be killed in the middle

`make chaos` runs a long one; its first line has the seed that repeats it. Times are not judged here: bench/ measures.
"""
